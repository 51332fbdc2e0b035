package driver_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// withFields returns the golden bytes with fields in their extension.
func withFields(fields ...[]byte) []byte {
	all := slices.Concat(fields...)
	return rewritten(func(data []byte) []byte {
		data[5] |= 4
		binary.BigEndian.PutUint16(data[6:], uint16(2+len(all)))
		return slices.Insert(data, driver.HeaderSize, append(binary.BigEndian.AppendUint16(nil, uint16(len(all))), all...)...)
	})
}

// nearTTLOf is the field of a near TTL.
func nearTTLOf(ms uint64) []byte { return binary.BigEndian.AppendUint64([]byte{1, 0, 8}, ms) }

// TestRecord_FlagOfFields: a record has the flag if it has a field, and not otherwise. The
// version before knew the two lower flags only, and took any other for a newer format.
func TestRecord_FlagOfFields(t *testing.T) {
	for _, r := range []driver.Record{full, extended, {Kind: driver.KindTombstone}} {
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
			got, err := driver.DecodeRecord(c.data)
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
		got, err := driver.DecodeRecord((&driver.Record{Kind: driver.KindValue, NearTTL: stored}).Append(nil))
		require.NoError(t, err)
		assert.Equal(t, want, got.NearTTL, "%v", stored)
	}
}

// TestDecodeRecord_FieldsOfANewerFormat: one from 128 on must be known.
func TestDecodeRecord_FieldsOfANewerFormat(t *testing.T) {
	for _, data := range [][]byte{withFields([]byte{128, 0, 0}), withFields(nearTTLOf(5), []byte{255, 0, 1, 1})} {
		r, err := driver.DecodeRecord(data)
		require.ErrorIs(t, err, driver.ErrNewerFormat)
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
			data[driver.HeaderSize+1] = 1
			return data
		}),
		"short extension":         rewritten(func(data []byte) []byte { data[5] = 4; return insert(data, 1) }),
		"a near TTL of 7 bytes":   withFields(append([]byte{1, 0, 7}, make([]byte, 7)...)),
		"a near TTL of zero":      withFields(nearTTLOf(0)),
		"a near TTL too long":     withFields(nearTTLOf(uint64(shared.MaxDuration/time.Millisecond) + 1)),
		"the longest of numbers":  withFields(nearTTLOf(1<<64 - 1)),
		"an extension of nothing": withFields(nearTTLOf(1), nil)[:driver.HeaderSize],
	} {
		t.Run(name, func(t *testing.T) {
			r, err := driver.DecodeRecord(bytes.Clone(data))
			require.ErrorIs(t, err, driver.ErrCorrupt)
			assert.NotErrorIs(t, err, driver.ErrNewerFormat)
			assert.Zero(t, r)
		})
	}
}
