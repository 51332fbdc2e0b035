package lag_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache/internal/lag"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// record returns a record that was written at a time of the server's clock.
func record(kind driver.Kind, at time.Time) *driver.Record {
	return &driver.Record{Kind: kind, Revision: driver.Revision{Epoch: 1, Number: uint64(at.UnixMicro())}}
}

func TestLag_CountsByTheClockOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := time.Now().Add(time.Hour) // the clock of this machine is behind
		l := lag.New(&shared.Claimed{Now: server}, record(driver.KindTombstone, server.Add(-3*time.Second)))
		assert.True(t, l.Ended.Known)
		assert.Equal(t, 3*time.Second, l.Ended.Now())
		time.Sleep(time.Second)
		assert.Equal(t, 4*time.Second, l.Ended.Now())
		l.Begin(4 * time.Second)
		assert.False(t, l.Young)
		l.Begin(4*time.Second + 1)
		assert.True(t, l.Young)
		assert.True(t, l.Within(uint64(server.UnixMicro()), time.Second+1))
		assert.False(t, l.Within(uint64(server.UnixMicro()), time.Second))
	})
}

func TestLag_WhatARecordTells(t *testing.T) {
	now := time.Now()
	for kind, known := range map[driver.Kind]bool{
		0: false, driver.KindWatermark: false,
		driver.KindValue: true, driver.KindNotFound: true, // which the node does not believe
		driver.KindTombstone: true, driver.KindStale: true, driver.KindLease: true,
	} {
		l := lag.New(&shared.Claimed{Now: now}, record(kind, now))
		assert.Equal(t, known, l.Ended.Known, kind)
	}
	small := &driver.Record{Kind: driver.KindTombstone, Revision: driver.Revision{Epoch: 1, Number: 1}}
	assert.False(t, lag.New(&shared.Claimed{Now: now}, small).Ended.Known, "the number of a lease that was given back")
}

func TestLag_WhereRevisionsAreNoTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &driver.Record{Kind: driver.KindTombstone, Revision: driver.Revision{Number: 7}}
		l := lag.New(&shared.Claimed{Now: time.Now()}, r)
		assert.True(t, l.Ended.Known)
		assert.Zero(t, l.Ended.Now(), "it may have been just now")
	})
}

func TestLag_TheNewestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := time.Now()
		l := lag.New(&shared.Claimed{Now: server}, record(driver.KindTombstone, server.Add(-time.Minute)))
		l.Invalidated(uint64(server.Add(-time.Second).UnixMicro()))
		assert.Equal(t, time.Second, l.Ended.Now())
		l.Invalidated(uint64(server.Add(-time.Hour).UnixMicro()))
		assert.Equal(t, time.Second, l.Ended.Now())
		l.Invalidated(0)
		assert.Equal(t, time.Second, l.Ended.Now())
		assert.Equal(t, l.Ended, lag.Recency{}.Newer(l.Ended))
	})
}
