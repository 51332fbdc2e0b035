package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// meter counts what passes between the nodes of a fleet and their servers.
type meter struct {
	heartbeats, messages, published atomic.Int64
	deliveries, delivered           atomic.Int64
	writes, reads, rounds, entries  atomic.Int64
}

// measured is a meter read as the model would say it.
func (m *meter) measured(d time.Duration) Cost {
	rate := func(n *atomic.Int64) float64 { return float64(n.Load()) / d.Seconds() }
	return Cost{
		Heartbeats: rate(&m.heartbeats), Messages: rate(&m.messages),
		Deliveries: rate(&m.deliveries), Published: rate(&m.published), Delivered: rate(&m.delivered),
		WriteCommands: rate(&m.writes), ReadCommands: rate(&m.reads),
		RepairRounds: rate(&m.rounds), RepairEntries: rate(&m.entries),
	}
}

// wire counts what a node sends and hears.
type wire struct {
	*membus.Transport
	m *atomic.Pointer[meter]
}

func (w wire) Publish(ctx context.Context, payload []byte) error {
	m := w.m.Load()
	if payload[2] == 2 { // the type of a heartbeat
		m.heartbeats.Add(1)
	} else {
		m.messages.Add(1)
	}
	m.published.Add(int64(len(payload)))
	return w.Transport.Publish(ctx, payload)
}

func (w wire) Receive(ctx context.Context, sink bus.Sink) error {
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		m := w.m.Load()
		m.deliveries.Add(1)
		m.delivered.Add(int64(len(payload)))
		deliver(payload)
	}
	return w.Transport.Receive(ctx, sink)
}

// tier counts what a node asks of the shared tier.
type tier struct {
	*memstore.Store
	m *atomic.Pointer[meter]
}

func (s tier) Endpoint() any { return nil }

func (s tier) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.m.Load().writes.Add(int64(len(writes)))
	return s.Store.Write(ctx, writes)
}

// Namespace is told in heartbeats, as that of Redis and Memcached is.
func (s tier) Namespace() string { return "nearbus" }

func (s tier) Read(ctx context.Context, keys []string) ([][]byte, error) {
	if strings.HasPrefix(keys[0], "!tier") { // of the identity; too few to be in the model
		return s.Store.Read(ctx, keys)
	}
	s.m.Load().reads.Add(int64(len(keys)))
	return s.Store.Read(ctx, keys)
}

func (s tier) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	s.m.Load().reads.Add(int64(len(keys)))
	return s.Store.ReadProven(ctx, keys)
}

func (s tier) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := s.Store.Tail(ctx, reads)
	m := s.m.Load()
	m.rounds.Add(int64(len(reads)))
	for i := range tails {
		m.entries.Add(int64(len(tails[i].Entries)))
	}
	return tails
}

// simulation is a fleet in memory.
type simulation struct {
	t      *testing.T
	fleet  Fleet
	meter  atomic.Pointer[meter]
	caches []*nearcache.Cache[int]
	buses  []*bus.Bus
	closes []func() error
}

// simulate lets a fleet run for a while, on a clock that waits for nobody, and
// returns what it did each second.
func simulate(t *testing.T, f Fleet, d time.Duration) (cost Cost, gaps uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		s := &simulation{t: t, fleet: f}
		s.meter.Store(&meter{})
		s.start()
		time.Sleep(time.Second + 3*f.Interval()) // until all keep to one pace
		for _, c := range s.caches {
			_, err := c.Get(t.Context(), "0") // reads the clock of the cache along
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		s.run(time.Second) // so that journals have something from the beginning on
		m := &meter{}
		s.meter.Store(m)
		s.run(d)
		cost = m.measured(d)
		gaps = s.stop()
	})
	return cost, gaps
}

func (s *simulation) start() {
	hub, store := membus.NewHub(), memstore.New(memstore.Options{})
	for i := range s.fleet.Nodes {
		// Evenly, so that heartbeats are even from then on.
		time.Sleep(s.fleet.Heartbeat / time.Duration(s.fleet.Nodes))
		t, err := shared.New(tier{store, &s.meter}, shared.Options{})
		require.NoError(s.t, err)
		name := fmt.Sprintf("%0*d", s.fleet.NodeName, i)
		b, err := bus.New(wire{hub.Join(), &s.meter}, bus.Options{Node: name, HeartbeatInterval: s.fleet.Heartbeat})
		require.NoError(s.t, err)
		n, err := nearcache.NewNode(t, b, nearcache.NodeOptions{NearBytes: 64 << 10, JournalInterval: s.fleet.Repair})
		require.NoError(s.t, err)
		c, err := nearcache.New(n, strings.Repeat("c", s.fleet.CacheName), nearcache.Options[int]{TTL: time.Hour})
		require.NoError(s.t, err)
		s.caches, s.buses = append(s.caches, c), append(s.buses, b)
		s.closes = append(s.closes, func() error { return errors.Join(n.Close(atOnce), b.Close(), t.Close()) })
	}
}

// run writes at an even pace, by nodes that take turns, and lets a share of the
// others read what was written.
func (s *simulation) run(d time.Duration) {
	s.t.Helper()
	pace := time.Duration(float64(time.Second) / s.fleet.Writes)
	began, key := time.Now(), 0
	for i := 0; time.Since(began) < d; i++ {
		keys := make([]string, s.fleet.Keys)
		values := make(map[string]int, len(keys))
		for k := range keys {
			keys[k] = fmt.Sprintf("%0*d", s.fleet.Key, key%50_000)
			values[keys[k]] = i
			key++
		}
		writer := s.caches[i%len(s.caches)]
		if len(keys) == 1 {
			require.NoError(s.t, writer.Set(s.t.Context(), keys[0], i))
		} else {
			require.NoError(s.t, writer.SetMany(s.t.Context(), values))
		}
		time.Sleep(pace / 2)
		s.reread(keys, i)
		time.Sleep(pace - pace/2)
	}
}

func (s *simulation) reread(keys []string, turn int) {
	s.t.Helper()
	for j, c := range s.caches {
		if j == turn%len(s.caches) {
			continue
		}
		for _, key := range keys {
			if rand.Float64() < s.fleet.Reread {
				got, err := c.Get(s.t.Context(), key)
				require.NoError(s.t, err)
				require.Equal(s.t, turn, got)
			}
		}
	}
}

func (s *simulation) stop() (gaps uint64) {
	s.t.Helper()
	for _, b := range s.buses {
		gaps += b.Stats().Gaps
	}
	for _, end := range s.closes {
		require.NoError(s.t, end())
	}
	return gaps
}

// within requires that a measured rate is the one of the model, up to a share of
// it.
func within(t *testing.T, what string, model, measured, share float64) {
	t.Helper()
	assert.InDelta(t, model, measured, model*share+1, what)
	t.Logf("%-16s model %14.1f  measured %14.1f", what, model, measured)
}

// TestModel_AgreesWithSimulation: real nodes, over a bus and a shared tier in
// memory that count. What is even agrees to 2 %, what is random to 10 %.
func TestModel_AgreesWithSimulation(t *testing.T) {
	ten, batch, hundred, many := Defaults(10, 50), Defaults(10, 5), Defaults(100, 20), Defaults(400, 5)
	ten.Reread = 0.5
	batch.Keys, batch.Key = 200, 130
	for name, c := range map[string]struct {
		fleet Fleet
		time  time.Duration
	}{
		"10 nodes":          {ten, 60 * time.Second},
		"10 nodes, batches": {batch, 30 * time.Second},
		"100 nodes":         {hundred, 20 * time.Second},
		"400 nodes":         {many, 3 * many.Interval()},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.fleet.Validate())
			model := Of(c.fleet)
			is, gaps := simulate(t, c.fleet, c.time)
			assert.Zero(t, gaps)
			within(t, "heartbeats", model.Heartbeats, is.Heartbeats, 0.02)
			within(t, "messages", model.Messages, is.Messages, 0.02)
			within(t, "deliveries", model.Deliveries, is.Deliveries, 0.02)
			within(t, "bytes published", model.Published, is.Published, 0.02)
			within(t, "bytes delivered", model.Delivered, is.Delivered, 0.02)
			within(t, "writes", model.WriteCommands, is.WriteCommands, 0.02)
			within(t, "reads", model.ReadCommands, is.ReadCommands, 0.1)
			within(t, "repair rounds", model.RepairRounds, is.RepairRounds, 0.1)
			within(t, "repair entries", model.RepairEntries, is.RepairEntries, 0.1)
		})
	}
}

// atOnce has ended: what is closed with it waits for nothing.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
