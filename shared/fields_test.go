package shared_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// TestTier_Fields: the tier stores them, and refuses what no record can have.
func TestTier_Fields(t *testing.T) {
	tier := newTier(t, newServer(), shared.Options{})
	puts := []shared.Put{put("a"), put("b"), put("c"), put("d"), put("e")}
	puts[0].Record.NearTTL, puts[1].Record.NearTTL, puts[2].Record.NearTTL = time.Second, -1, shared.MaxDuration+1
	puts[0].Record.Ahead, puts[3].Record.Ahead, puts[4].Record.Ahead = time.Minute, -1, shared.MaxDuration+1
	receipts := tier.Write(t.Context(), puts)
	require.NoError(t, receipts[0].Err)
	require.ErrorContains(t, receipts[1].Err, "NearTTL")
	require.ErrorContains(t, receipts[2].Err, "NearTTL")
	require.ErrorContains(t, receipts[3].Err, "Ahead")
	require.ErrorContains(t, receipts[4].Err, "Ahead")
	found, err := tier.Read(t.Context(), []string{"a"})
	require.NoError(t, err)
	assert.Equal(t, time.Second, found[0].NearTTL)
	assert.Equal(t, time.Minute, found[0].Ahead)
}

// TestFits_WhatTheRecordHas beside its value counts.
func TestFits_WhatTheRecordHas(t *testing.T) {
	tier := newTier(t, newServer(), shared.Options{MaxValue: 100})
	for name, r := range map[string]driver.Record{
		"nothing":  {},
		"a schema": {Schema: 1},
		"slots":    {Slots: make([]uint32, 3)},
		"near TTL": {NearTTL: time.Second},
		"both":     {NearTTL: time.Second, Ahead: time.Second},
	} {
		r.Kind = driver.KindValue
		extra := r.Size() - driver.HeaderSize
		r.Value = make([]byte, 100-extra)
		require.NoError(t, tier.Fits(&r), name)
		require.NoError(t, tier.Write(t.Context(), []shared.Put{{Key: "k", Record: r}})[0].Err, name)
		r.Value = append(r.Value, 0)
		require.ErrorIs(t, tier.Fits(&r), shared.ErrTooLarge, name)
		require.ErrorIs(t, tier.Write(t.Context(), []shared.Put{{Key: "k", Record: r}})[0].Err, shared.ErrTooLarge, name)
	}
}
