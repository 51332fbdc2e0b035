package driver_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// full has another value in every field.
var full = driver.Record{
	Kind:     driver.KindValue,
	Codec:    7,
	Revision: driver.Revision{Epoch: 0x1112131415161718, Number: 0x2122232425262728},
	Soft:     0x3132333435363738,
	Hard:     0x4142434445464748,
	Nonce:    0x5152535455565758,
	Clock:    0x6162636465666768,
	Value:    []byte("value"),
}

// golden is full as it is stored. Servers of a fleet that disagree on it
// cannot read each other's values: change it only together with the version.
const golden = "6e62" + "01" + "01" + "07" + "00" + "0000" + // magic, version, kind, codec, flags, tags
	"1112131415161718" + "2122232425262728" + // revision
	"3132333435363738" + "4142434445464748" + // expiries
	"5152535455565758" + "6162636465666768" + // nonce, clock
	"00000005" + "e1e00363" + // length and CRC-32C of the value
	"76616c7565"

// extended is full with an extension.
var extended = func() driver.Record {
	r := full
	r.Schema, r.TagClock, r.Slots = 0x81828384, 0x9192939495969798, []uint32{0xa1a2a3a4, 0xb1b2b3b4}
	return r
}()

// goldenExtended is extended as it is stored.
const goldenExtended = "6e62" + "01" + "01" + "07" + "00" + "0014" + // extension of 20 bytes
	"1112131415161718" + "2122232425262728" +
	"3132333435363738" + "4142434445464748" +
	"5152535455565758" + "6162636465666768" +
	"00000005" + "0aa9dc7e" + // length of the value, CRC-32C of extension and value
	"81828384" + "9192939495969798" + // schema, tag clock
	"a1a2a3a4" + "b1b2b3b4" + // tag slots
	"76616c7565"

// fielded is extended with fields.
var fielded = func() driver.Record {
	r := extended
	r.NearTTL, r.Ahead = 300*time.Millisecond, time.Second
	return r
}()

// goldenFielded is fielded as it is stored.
const goldenFielded = "6e62" + "01" + "01" + "07" + "04" + "002c" + // flag of fields, extension of 44 bytes
	"1112131415161718" + "2122232425262728" +
	"3132333435363738" + "4142434445464748" +
	"5152535455565758" + "6162636465666768" +
	"00000005" + "8f96d63f" +
	"0016" + "01" + "0008" + "000000000000012c" + "02" + "0008" + "00000000000003e8" + // length of the fields, near TTL, ahead
	"81828384" + "9192939495969798" +
	"a1a2a3a4" + "b1b2b3b4" +
	"76616c7565"

func TestRecord_Golden(t *testing.T) {
	for stored, want := range map[string]driver.Record{golden: full, goldenExtended: extended, goldenFielded: fielded} {
		assert.Equal(t, stored, hex.EncodeToString(want.Append(nil)))
		assert.Equal(t, len(stored)/2, want.Size())
		data, err := hex.DecodeString(stored)
		require.NoError(t, err)
		got, err := driver.DecodeRecord(data)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func TestRecord_ComesBack(t *testing.T) {
	for name, want := range map[string]driver.Record{
		"no value":      {Kind: driver.KindTombstone, Nonce: 1, Value: []byte{}},
		"lease":         {Kind: driver.KindLease, Nonce: math.MaxUint64, Clock: math.MaxUint64, Value: []byte{}},
		"watermark":     {Kind: driver.KindWatermark, Revision: driver.Revision{Number: math.MaxUint64}, Value: []byte{}},
		"highest codec": {Kind: driver.KindValue, Codec: 255, Value: []byte{0}},
		"schema alone":  {Kind: driver.KindValue, Schema: 1, Value: []byte{}},
		"tag clock":     {Kind: driver.KindValue, TagClock: math.MaxUint64, Value: []byte{1}},
		"slot zero":     {Kind: driver.KindValue, Slots: []uint32{0}, Value: []byte{1}},
		"most slots":    {Kind: driver.KindValue, Slots: slices.Repeat([]uint32{math.MaxUint32}, driver.MaxSlots), Value: []byte{1}},
		"near TTL":      {Kind: driver.KindValue, NearTTL: time.Millisecond, Value: []byte{1}},
		"ahead":         {Kind: driver.KindValue, Ahead: time.Hour, Value: []byte{1}},
		"all there is":  {Kind: driver.KindStale, Ahead: time.Second, NearTTL: shared.MaxDuration, Schema: 1, TagClock: 2, Slots: []uint32{3}, Compression: 3, Value: []byte{1}},
		"large value":   {Kind: driver.KindValue, Soft: -1, Hard: math.MinInt64, Value: bytes.Repeat([]byte{0xff}, 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			image := want.Append([]byte("before"))
			require.Equal(t, "before", string(image[:6]))
			assert.Len(t, image[6:], want.Size())
			got, err := driver.DecodeRecord(image[6:])
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestDecodeRecord_ValueIsAPartOfTheData(t *testing.T) {
	data := full.Append(nil)
	got, err := driver.DecodeRecord(data)
	require.NoError(t, err)
	data[driver.HeaderSize] = 'V'
	assert.Equal(t, "Value", string(got.Value))
}

// with returns the golden bytes with others from at on.
func with(at int, other ...byte) []byte {
	data := full.Append(nil)
	copy(data[at:], other)
	return data
}

// rewritten returns the golden bytes as change makes them, with the checksum
// that they should have then.
func rewritten(change func([]byte) []byte) []byte {
	data := change(full.Append(nil))
	sum := crc32.Checksum(data[driver.HeaderSize:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(data[60:], sum)
	return data
}

// insert puts an extension of n zeros into data.
func insert(data []byte, n int) []byte {
	binary.BigEndian.PutUint16(data[6:], uint16(n))
	return slices.Insert(data, driver.HeaderSize, make([]byte, n)...)
}

func TestDecodeRecord_NewerFormat(t *testing.T) {
	for name, data := range map[string][]byte{
		"next version":    with(2, driver.RecordVersion+1),
		"highest version": with(2, 255),
		"version alone":   append([]byte("nb\x02"), make([]byte, driver.HeaderSize-3)...),
		"of another kind": with(2, 2, 99),
		"flags":           with(5, 8),
		"all flags":       with(5, 0xff),
		"short extension": rewritten(func(data []byte) []byte { return insert(data, 4) }),
		"odd extension":   rewritten(func(data []byte) []byte { return insert(data, 13) }),
		"too many slots":  rewritten(func(data []byte) []byte { return insert(data, 12+4*(driver.MaxSlots+1)) }),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := driver.DecodeRecord(data)
			require.ErrorIs(t, err, driver.ErrNewerFormat)
			assert.NotErrorIs(t, err, driver.ErrCorrupt)
			assert.Zero(t, r)
		})
	}
}

func TestDecodeRecord_Corrupt(t *testing.T) {
	whole := full.Append(nil)
	cases := map[string][]byte{
		"nothing":          nil,
		"text":             []byte("set by another program"),
		"long text":        []byte(strings.Repeat("set by another program ", 10)),
		"magic":            with(0, 'x'),
		"half magic":       with(1, 'x'),
		"version zero":     with(2, 0),
		"kind zero":        with(driver.KindOffset, 0),
		"unknown kind":     with(driver.KindOffset, 7),
		"one byte more":    append(bytes.Clone(whole), 0),
		"length too small": with(56, 0, 0, 0, 4),
		"length too large": with(56, 0xff, 0xff, 0xff, 0xff),
		"checksum":         with(60, 0),
		"extension beyond": with(6, 0, 20),
		"empty extension":  rewritten(func(data []byte) []byte { return insert(data, 12) }),
	}
	whole = fielded.Append(whole[:0:0])
	for n := range whole {
		cases[fmt.Sprintf("cut to %d bytes", n)] = whole[:n]
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			r, err := driver.DecodeRecord(data)
			require.ErrorIs(t, err, driver.ErrCorrupt)
			assert.NotErrorIs(t, err, driver.ErrNewerFormat)
			assert.Zero(t, r)
			assert.NotContains(t, err.Error(), "value", "errors carry no values")
		})
	}
}

// TestDecodeRecord_FlippedBits flips each bit of extension and value and of
// what guards them.
func TestDecodeRecord_FlippedBits(t *testing.T) {
	whole := fielded.Append(nil)
	for bit := 56 * 8; bit < len(whole)*8; bit++ {
		data := bytes.Clone(whole)
		data[bit/8] ^= 1 << (bit % 8)
		_, err := driver.DecodeRecord(data)
		require.ErrorIs(t, err, driver.ErrCorrupt, "bit %d", bit)
	}
}

func TestDecodeHeader_DoesNotLookAtTheValue(t *testing.T) {
	want := full
	want.Value = nil
	for name, data := range map[string][]byte{
		"whole":     full.Append(nil),
		"header":    full.Append(nil)[:driver.HeaderSize],
		"cut":       full.Append(nil)[:driver.HeaderSize+1],
		"checksum":  with(60, 0),
		"extension": with(6, 1),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := driver.DecodeHeader(data)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	_, err := driver.DecodeHeader(full.Append(nil)[:driver.HeaderSize-1])
	require.ErrorIs(t, err, driver.ErrCorrupt)
	_, err = driver.DecodeHeader(with(2, 2))
	require.ErrorIs(t, err, driver.ErrNewerFormat)
}

func TestOffsets(t *testing.T) {
	image := full.Append(nil)
	assert.Equal(t, byte(full.Kind), image[driver.KindOffset])
	assert.Equal(t, full.Revision.Epoch, binary.BigEndian.Uint64(image[driver.StampOffset:]))
	assert.Equal(t, full.Nonce, binary.BigEndian.Uint64(image[driver.NonceOffset:]))
	assert.Equal(t, full.Clock, binary.BigEndian.Uint64(image[driver.ClockOffset:]))
}

func TestStamp(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123).Add(999 * time.Microsecond)
	rev := driver.Revision{Epoch: 3, Number: 4}
	for name, c := range map[string]struct {
		soft, hard         time.Duration
		wantSoft, wantHard int64
	}{
		"no expiries": {0, 0, 0, 0},
		"negative":    {-time.Hour, -1, 0, 0},
		"both":        {time.Second, time.Minute, 1_800_000_001_123, 1_800_000_060_123},
		"shortest":    {1, time.Microsecond, 1_800_000_000_123, 1_800_000_000_124},
	} {
		t.Run(name, func(t *testing.T) {
			image := full.Append(nil)
			driver.Stamp(image, rev, now, c.soft, c.hard)
			want := full
			want.Revision, want.Soft, want.Hard = rev, c.wantSoft, c.wantHard
			got, err := driver.DecodeRecord(image)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestStampRevision_LeavesTheRest(t *testing.T) {
	image := full.Append(nil)
	want := full
	want.Revision = driver.Revision{Epoch: 1, Number: math.MaxUint64}
	driver.StampRevision(image, want.Revision)
	got, err := driver.DecodeRecord(image)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestRevision_Covers(t *testing.T) {
	rev := func(epoch, number uint64) driver.Revision { return driver.Revision{Epoch: epoch, Number: number} }
	for name, c := range map[string]struct {
		r, o driver.Revision
		want bool
	}{
		"the same":                       {rev(1, 5), rev(1, 5), true},
		"a later one":                    {rev(1, 6), rev(1, 5), true},
		"an earlier one":                 {rev(1, 4), rev(1, 5), false},
		"the same number elsewhere":      {rev(2, 5), rev(1, 5), false},
		"a higher number elsewhere":      {rev(2, 6), rev(1, 5), false},
		"without order, the same":        {rev(0, 5), rev(0, 5), true},
		"without order, a higher number": {rev(0, 6), rev(0, 5), false},
		"none and none":                  {rev(0, 0), rev(0, 0), false},
		"none":                           {rev(0, 0), rev(1, 5), false},
		"any and none":                   {rev(1, 5), rev(1, 0), false},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, c.r.Covers(c.o)) })
	}
}

// FuzzDecodeRecord requires that bytes are a record or an error that says what
// is wrong, and that a record is exactly the bytes that it encodes to.
func FuzzDecodeRecord(f *testing.F) {
	whole := full.Append(nil)
	for _, data := range [][]byte{
		nil, extended.Append(nil), withFields(nearTTLOf(1)), withFields([]byte{9, 0, 1, 7}), withFields([]byte{128, 0, 0}),
		(&driver.Record{Kind: driver.KindValue, NearTTL: time.Second, Slots: []uint32{1}}).Append(nil), rewritten(func(data []byte) []byte { return insert(data, 12) }), whole, whole[:driver.HeaderSize], whole[:driver.HeaderSize-1], append(bytes.Clone(whole), 0),
		with(2, 2), with(2, 0), with(driver.KindOffset, 4), with(driver.KindOffset, 7), with(5, 1), with(6, 1), with(56, 0xff),
		(&driver.Record{Kind: driver.KindTombstone}).Append(nil),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		r, err := driver.DecodeRecord(data)
		header, headerErr := driver.DecodeHeader(data)
		require.Equal(t, before, data, "decoding changes nothing")
		if err != nil {
			newer := assert.ObjectsAreEqual(driver.ErrNewerFormat, err)
			require.True(t, newer || strings.HasPrefix(err.Error(), driver.ErrCorrupt.Error()), "%v", err)
			require.Zero(t, r)
			return
		}
		require.NoError(t, headerErr)
		again := r.Append(nil)
		if len(again) < len(data) && data[5]&4 != 0 { // it has fields that only another version knows
			got, err := driver.DecodeRecord(again)
			require.NoError(t, err)
			require.Equal(t, r, got)
		} else {
			require.Equal(t, data, again)
		}
		r.Schema, r.TagClock, r.Slots, r.Value, r.NearTTL, r.Ahead = 0, 0, nil, nil, 0, 0
		require.Equal(t, header, r)
	})
}

func TestStampStale(t *testing.T) {
	old := driver.Record{
		Kind: driver.KindValue, Codec: 3, Revision: driver.Revision{Epoch: 1, Number: 2}, Soft: 4, Hard: 5,
		Nonce: 6, Clock: 7, TagClock: 8, Slots: []uint32{9}, NearTTL: time.Second, Value: []byte("value"),
	}
	write := driver.Record{Kind: driver.KindTombstone, Nonce: 10}
	rev := driver.Revision{Epoch: 1, Number: 11}
	image, ok := driver.StampStale(old.Append(nil), write.Append(nil), rev)
	require.True(t, ok)
	got, err := driver.DecodeRecord(image)
	require.NoError(t, err)
	want := old
	want.Kind, want.Nonce, want.Revision = driver.KindStale, 10, rev
	assert.Equal(t, want, got)
	_, ok = driver.StampStale(image, write.Append(nil), rev)
	assert.True(t, ok, "what was kept is kept on")

	for _, kind := range []driver.Kind{driver.KindTombstone, driver.KindLease, driver.KindWatermark, driver.KindNotFound} {
		old.Kind = kind
		_, ok := driver.StampStale(old.Append(nil), write.Append(nil), rev)
		assert.False(t, ok, "kind %d", kind)
	}
	_, ok = driver.StampStale(nil, write.Append(nil), rev)
	assert.False(t, ok)
}
