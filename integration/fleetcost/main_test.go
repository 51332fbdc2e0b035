package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun_PrintsARowForEachFleet(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run([]string{"-nodes", "100", "-writes", "50"}, &out))
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, rows, 2)
	assert.Equal(t, []string{"100", "50", "1", "1s", "150", "15000"}, strings.Fields(rows[1])[:6])

	out.Reset()
	require.NoError(t, run(nil, &out))
	assert.Contains(t, out.String(), "20s", "a thousand nodes need longer pauses")
}

func TestRun_RefusesWhatCannotBe(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag":        {"-writers", "3"},
		"no number":           {"-nodes", "many"},
		"a rest":              {"100"},
		"negative nodes":      {"-nodes", "-1"},
		"negative writes":     {"-nodes", "1", "-writes", "-1"},
		"endless writes":      {"-writes", "+Inf"},
		"no number of writes": {"-writes", "NaN"},
		"no keys":             {"-keys", "0"},
		"too large a batch":   {"-keys", "1025"},
		"more than all":       {"-reread", "1.5"},
		"no share":            {"-reread", "NaN"},
		"negative heartbeat":  {"-heartbeat", "-1s"},
		"negative repair":     {"-repair", "-1s"},
		"no partitions":       {"-partitions", "0"},
		"endless key":         {"-key", "2000"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.ErrorContains(t, run(args, &out), "fleetcost: ")
		})
	}
}

func TestHeartbeatFor(t *testing.T) {
	assert.Equal(t, time.Second, HeartbeatFor(10, 0.25))
	assert.Equal(t, 2*time.Second, HeartbeatFor(300, 0.25))
	assert.Equal(t, 20*time.Second, HeartbeatFor(1000, 0.25))
	f := Defaults(1000, 0)
	f.Heartbeat = HeartbeatFor(f.Nodes, 0.25)
	assert.LessOrEqual(t, Of(f).RedisBusLoad(), 0.25)
}

// TestModel_Grows: what doubles when what doubles.
func TestModel_Grows(t *testing.T) {
	base := Defaults(100, 10)
	with := func(change func(*Fleet)) Cost {
		f := base
		change(&f)
		return Of(f)
	}
	is, none := Of(base), with(func(f *Fleet) { f.Repair = 0 })
	nodes := with(func(f *Fleet) { f.Nodes *= 2 })
	many := with(func(f *Fleet) { f.Nodes *= 10 })
	assert.InDelta(t, many.Heartbeats, nodes.Heartbeats, 1, "with a journal, the fleet sends no more from 150 nodes on")
	square := with(func(f *Fleet) { f.Nodes, f.Repair = 10*f.Nodes, 0 })
	assert.InDelta(t, 100*none.Heartbeats*100, square.Heartbeats*1000, 1, "deliveries of heartbeats without one: the square")
	assert.InDelta(t, 2*is.RepairEntries, nodes.RepairEntries, 1)
	assert.InDelta(t, 2*is.RepairRounds, nodes.RepairRounds, 1)
	slower := with(func(f *Fleet) { f.Repair *= 2 })
	assert.InDelta(t, is.RepairRounds/2, slower.RepairRounds, 1)
	assert.InDelta(t, is.RepairEntries, slower.RepairEntries, 0, "every node reads every entry once")
	one := with(func(f *Fleet) { f.OneRedis = true })
	assert.Zero(t, one.Messages)
	assert.InDelta(t, is.Deliveries, one.Deliveries, 0)
	batch := with(func(f *Fleet) { f.OneRedis, f.Keys = true, 100 })
	assert.Zero(t, batch.Announced)
	assert.InDelta(t, is.Deliveries, batch.Deliveries, 0, "a batch is one message")
	assert.Zero(t, none.RepairRounds+none.RepairCommands+none.RepairEntries+none.RepairBytes)
	assert.False(t, math.IsNaN(is.TierLoad()))
}

// TestCluster holds what docs/fleet.md says of a Cluster against the model.
func TestCluster(t *testing.T) {
	page, err := os.ReadFile("../../docs/fleet.md")
	require.NoError(t, err)
	f := Defaults(1000, 100)
	for partitions, want := range map[int]string{16: "18,286", 64: "73,143"} {
		f.Partitions = partitions
		n := int(math.Round(Of(f).RepairCommands))
		assert.Equal(t, want, fmt.Sprintf("%d,%03d", n/1000, n%1000))
		assert.Contains(t, string(page), want)
	}
}

// TestLargest holds the table of the largest fleets in docs/fleet.md against the model.
func TestLargest(t *testing.T) {
	page, err := os.ReadFile("../../docs/fleet.md")
	require.NoError(t, err)
	cluster := func(partitions int) func(Cost) float64 { // of three servers, of which one has most
		share := map[int]float64{16: 6.0 / 16, 64: 22.0 / 64}[partitions]
		return func(c Cost) float64 { return c.TierLoad() * share }
	}
	for _, c := range []struct {
		row        string
		partitions int
		load       func(Cost) float64
		bus        bool
	}{
		{"bus on Redis", 1, Cost.RedisBusLoad, true},
		{"bus on core NATS", 1, Cost.NATSBusLoad, true},
		{"bus on JetStream", 1, Cost.StreamBusLoad, true},
		{"shared tier on Redis", 1, Cost.TierLoad, false},
		{"shared tier on Redis Cluster of 3, 64 partitions", 64, cluster(64), false},
		{"shared tier on Redis Cluster of 3, 16 partitions", 16, cluster(16), false},
	} {
		row := "| " + c.row + " |"
		for _, writes := range []float64{10, 100} {
			for _, share := range []float64{0.25, 1} {
				f := Defaults(1, writes)
				f.Partitions = c.partitions
				after := Largest(f, share, c.load)
				if c.bus {
					f.Repair = 0 // as it was with a journal too
					row += fmt.Sprintf(" %d, %d |", Largest(f, share, c.load), after)
				} else {
					row += fmt.Sprintf(" %d |", after)
				}
			}
		}
		assert.Contains(t, string(page), row)
	}
}
