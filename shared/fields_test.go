package shared_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
)

// withFields returns the golden bytes with fields in their extension.
func withFields(fields ...[]byte) []byte {
	all := slices.Concat(fields...)
	return rewritten(func(data []byte) []byte {
		data[5] |= 4
		binary.BigEndian.PutUint16(data[6:], uint16(2+len(all)))
		return slices.Insert(data, shared.HeaderSize, append(binary.BigEndian.AppendUint16(nil, uint16(len(all))), all...)...)
	})
}

// nearTTLOf is the field of a near TTL.
func nearTTLOf(ms uint64) []byte { return binary.BigEndian.AppendUint64([]byte{1, 0, 8}, ms) }

// TestRecord_FlagOfFields: a record has the flag if it has a field, and not otherwise. The
// version before knew the two lower flags only, and took any other for a newer format.
func TestRecord_FlagOfFields(t *testing.T) {
	for _, r := range []shared.Record{full, extended, {Kind: shared.KindTombstone}} {
		assert.Zero(t, r.Append(nil)[5]&^3)
		r.NearTTL = time.Second
		assert.EqualValues(t, 4, r.Append(nil)[5]&^3)
	}
}

// TestDecodeRecord_Fields: those below 128 that a reader does not know are skipped.
func TestDecodeRecord_Fields(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want time.Duration
	}{
		"one that is known":        {withFields(nearTTLOf(300)), 300 * time.Millisecond},
		"the longest":              {withFields(nearTTLOf(uint64(shared.MaxDuration / time.Millisecond))), shared.MaxDuration},
		"unknown ones around":      {withFields([]byte{0, 0, 0}, nearTTLOf(1), []byte{99, 0, 2, 1, 2}, []byte{127, 0, 1, 3}), time.Millisecond},
		"unknown ones alone":       {withFields([]byte{127, 0, 1, 3}), 0},
		"an unknown one, and long": {withFields(slices.Concat([]byte{100, 0x01, 0}, make([]byte, 256))), 0},
	} {
		t.Run(name, func(t *testing.T) {
			want := full
			want.NearTTL = c.want
			got, err := shared.DecodeRecord(c.data)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

// TestRecord_RoundsUp: no lifetime becomes none.
func TestRecord_RoundsUp(t *testing.T) {
	for stored, want := range map[time.Duration]time.Duration{
		1:                       time.Millisecond,
		time.Millisecond:        time.Millisecond,
		1001 * time.Microsecond: 2 * time.Millisecond,
	} {
		got, err := shared.DecodeRecord((&shared.Record{Kind: shared.KindValue, NearTTL: stored}).Append(nil))
		require.NoError(t, err)
		assert.Equal(t, want, got.NearTTL, "%v", stored)
	}
}

// TestDecodeRecord_FieldsOfANewerFormat: one from 128 on must be known.
func TestDecodeRecord_FieldsOfANewerFormat(t *testing.T) {
	for _, data := range [][]byte{withFields([]byte{128, 0, 0}), withFields(nearTTLOf(5), []byte{255, 0, 1, 1})} {
		r, err := shared.DecodeRecord(data)
		require.ErrorIs(t, err, shared.ErrNewerFormat)
		assert.Zero(t, r)
	}
}

func TestDecodeRecord_CorruptFields(t *testing.T) {
	for name, data := range map[string][]byte{
		"none":                 withFields(),
		"no extension":         with(5, 4),
		"less than an id":      withFields([]byte{1, 0}),
		"less than its length": withFields([]byte{9, 0, 2, 1}),
		"twice":                withFields(nearTTLOf(1), nearTTLOf(1)),
		"out of order":         withFields([]byte{9, 0, 0}, nearTTLOf(1)),
		"beyond the extension": rewritten(func(data []byte) []byte {
			data[5] = 4
			data = insert(data, 2)
			data[shared.HeaderSize+1] = 1
			return data
		}),
		"short extension":         rewritten(func(data []byte) []byte { data[5] = 4; return insert(data, 1) }),
		"a near TTL of 7 bytes":   withFields(append([]byte{1, 0, 7}, make([]byte, 7)...)),
		"a near TTL of zero":      withFields(nearTTLOf(0)),
		"a near TTL too long":     withFields(nearTTLOf(uint64(shared.MaxDuration/time.Millisecond) + 1)),
		"the longest of numbers":  withFields(nearTTLOf(1<<64 - 1)),
		"an extension of nothing": withFields(nearTTLOf(1), nil)[:shared.HeaderSize],
	} {
		t.Run(name, func(t *testing.T) {
			r, err := shared.DecodeRecord(bytes.Clone(data))
			require.ErrorIs(t, err, shared.ErrCorrupt)
			assert.NotErrorIs(t, err, shared.ErrNewerFormat)
			assert.Zero(t, r)
		})
	}
}

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
	for name, r := range map[string]shared.Record{
		"nothing":  {},
		"a schema": {Schema: 1},
		"slots":    {Slots: make([]uint32, 3)},
		"near TTL": {NearTTL: time.Second},
		"both":     {NearTTL: time.Second, Ahead: time.Second},
	} {
		r.Kind = shared.KindValue
		extra := r.Size() - shared.HeaderSize
		r.Value = make([]byte, 100-extra)
		require.NoError(t, tier.Fits(&r), name)
		require.NoError(t, tier.Write(t.Context(), []shared.Put{{Key: "k", Record: r}})[0].Err, name)
		r.Value = append(r.Value, 0)
		require.ErrorIs(t, tier.Fits(&r), shared.ErrTooLarge, name)
		require.ErrorIs(t, tier.Write(t.Context(), []shared.Put{{Key: "k", Record: r}})[0].Err, shared.ErrTooLarge, name)
	}
}
