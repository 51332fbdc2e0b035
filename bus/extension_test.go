package bus_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
)

var (
	goldenAbout = bus.About{Tier: 0xa1a2a3a4a5a6a7a8, Namespace: 0xb1b2b3b4b5b6b7b8, Options: 0xc1c2c3c4c5c6c7c8}

	goldenPositions = bus.Positions{Partitions: 300, Known: []bus.Position{
		{Partition: 0, Epoch: 7, Revision: 1_700_000_000_000_001}, {Partition: 299, Epoch: 8, Revision: 2},
	}}

	goldenSettings = []bus.Setting{
		{Cache: "prices", Option: "TTL", Value: "5m0s"},
		{Cache: "users", Option: "FailSafe", Value: "1h0m0s"},
		{Cache: "users", Option: "TTL", Value: "€"},
	}
)

func TestExtension_Golden(t *testing.T) {
	golden(t, "about", bus.EncodeAbout("web-1", 0x1122334455667788, 9, 123456789, goldenAbout))
	golden(t, "interval", bus.EncodeInterval("web-1", 0x1122334455667788, 9, 123456789, 6700*time.Millisecond))
	golden(t, "question", bus.EncodeQuestion("web-1", 0x1122334455667788, 9, 3, goldenPositions, 0xa1, 0xa2))
	golden(t, "asking", bus.EncodeAsking("web-1", 0x1122334455667788, 9, 0xa1, 0xa2))
	golden(t, "rollcall", bus.EncodeRollCall("web-1", 0x1122334455667788, 9, 3, 0xa1, 0xa2))
	golden(t, "settings", bus.EncodeSettings("web-1", 0x1122334455667788, 9,
		bus.About{Options: 5, Settings: goldenSettings}, bus.MaxPayload))
}

func TestExtension_RoundTrip(t *testing.T) {
	got, err := bus.DecodeSaid(bus.EncodeAbout("n", 3, 4, 5, goldenAbout))
	require.NoError(t, err)
	assert.Equal(t, bus.Said{Version: 2, About: goldenAbout}, got)

	for interval, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Millisecond, time.Second: time.Second, 6701 * time.Microsecond: 7 * time.Millisecond,
		365 * 24 * time.Hour: math.MaxUint32 * time.Millisecond,
	} {
		got, err = bus.DecodeSaid(bus.EncodeInterval("n", 3, 4, 5, interval))
		require.NoError(t, err)
		assert.Equal(t, bus.Said{Version: 2, Interval: want}, got, interval)
	}

	got, err = bus.DecodeSaid(bus.EncodeQuestion("n", 3, 4, 5, goldenPositions, 7))
	require.NoError(t, err)
	assert.Equal(t, bus.Said{Positions: goldenPositions, Roll: []uint32{7}}, got)

	about := bus.About{Options: 5, Settings: goldenSettings}
	got, err = bus.DecodeSaid(bus.EncodeSettings("n", 3, 4, about, bus.MaxPayload))
	require.NoError(t, err)
	assert.Equal(t, about, got.About)
}

// TestExtension_Size: a heartbeat stays small.
func TestExtension_Size(t *testing.T) {
	const node = "web-1"
	assert.Len(t, bus.EncodeHeartbeat(node, 3, 4, 5), 29+len(node), "before protocol version 1")
	assert.Len(t, bus.EncodeAbout(node, 3, 4, 5, goldenAbout), 64+len(node))
	says := len(bus.EncodeInterval(node, 3, 4, 5, time.Second)) - len(bus.EncodeInterval(node, 3, 4, 5, 0))
	assert.Equal(t, 6, says, "with a journal")
}

// TestExtension_Older: what older processes read of a newer heartbeat is where it was.
func TestExtension_Older(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		payload := bus.EncodeAbout("n", 3, 4, 5, goldenAbout)
		at := 20 + 2
		if deaf {
			payload[at+1] |= 1
		}
		assert.EqualValues(t, 1, payload[1], "format version")
		assert.EqualValues(t, 1, payload[3], "flags: there is an extension, and nothing else")
		assert.Len(t, payload[at+1:], int(payload[at])+8, "the extension is a string, and the time sent follows")
		got, err := bus.DecodeSaid(payload)
		require.NoError(t, err)
		assert.Equal(t, deaf, got.Deaf)
	}
	got, err := bus.DecodeSaid(bus.EncodeDeaf("n", 3, 4, 5))
	require.NoError(t, err)
	assert.Equal(t, bus.Said{Deaf: true}, got, "an older heartbeat says nothing else")
	got, err = bus.DecodeSaid(bus.EncodeReadOnly("n", 3, 4, 5))
	require.NoError(t, err)
	assert.Equal(t, bus.Said{ReadOnly: true}, got, "an older process reads the first bit")
}

// withExtension returns a heartbeat with these bytes as its extension.
func withExtension(extension ...byte) []byte {
	whole := bus.EncodeHeartbeat("n", 3, 4, 5)
	payload := append(bytes.Clone(whole[:22]), byte(len(extension)))
	payload[3] |= 1
	return append(append(payload, extension...), whole[22:]...)
}

func TestExtension_Newer(t *testing.T) {
	for name, tt := range map[string]struct {
		extension []byte
		want      bus.Said
	}{
		"empty":              {nil, bus.Said{}},
		"other flags":        {[]byte{0xff}, bus.Said{Deaf: true, ReadOnly: true}},
		"read only":          {[]byte{2, 1, 1, 9}, bus.Said{ReadOnly: true, Version: 9}},
		"unknown field":      {[]byte{1, 200, 2, 'h', 'i', 1, 1, 9}, bus.Said{Deaf: true, Version: 9}},
		"longer field":       {[]byte{0, 2, 9, 0, 0, 0, 0, 0, 0, 0, 5, 77, 1, 1, 9}, bus.Said{Version: 9, About: bus.About{Tier: 5}}},
		"shorter field":      {[]byte{0, 2, 2, 1, 1, 1, 1, 9}, bus.Said{Version: 9}},
		"field of a barrier": {[]byte{0, 6, 4, 1, 1, 1, 1, 1, 1, 9}, bus.Said{Version: 9}},
		"field cut off":      {[]byte{1, 1, 1, 9, 2, 8, 0}, bus.Said{Deaf: true}},
		"no length":          {[]byte{0, 1, 1, 9, 2}, bus.Said{}},
	} {
		got, err := bus.DecodeSaid(withExtension(tt.extension...))
		require.NoError(t, err, name)
		assert.Equal(t, tt.want, got, name)
	}
}

// TestExtension_Bounds: what comes from outside takes no more memory than it may.
func TestExtension_Bounds(t *testing.T) {
	var many bus.Positions
	many.Partitions = 5000
	for p := range many.Partitions - 1500 {
		many.Known = append(many.Known, bus.Position{Partition: p, Epoch: 1, Revision: 1})
	}
	got, err := bus.DecodeSaid(bus.EncodeQuestion("n", 3, 4, 5, many))
	require.NoError(t, err)
	assert.Len(t, got.Positions.Known, 2048)
	got, err = bus.DecodeSaid(bus.EncodeQuestion("n", 3, 4, 5, bus.Positions{}, make([]uint32, 5000)...))
	require.NoError(t, err)
	assert.Len(t, got.Roll, 1024)

	var about bus.About
	for i := range 10_000 {
		about.Settings = append(about.Settings, bus.Setting{Cache: fmt.Sprint("cache", i), Option: "TTL", Value: "1s"})
	}
	payload := bus.EncodeSettings("n", 3, 4, about, 1000)
	assert.LessOrEqual(t, len(payload), 1000)
	got, err = bus.DecodeSaid(payload)
	require.NoError(t, err)
	assert.Equal(t, about.Settings[:len(got.About.Settings)], got.About.Settings)
	assert.Greater(t, len(got.About.Settings), 40)
}
