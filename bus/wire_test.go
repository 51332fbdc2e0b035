package bus_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
)

var update = flag.Bool("update", false, "write the golden files")

var goldenMessage = bus.Message{
	Node: "web-1", Incarnation: 0x1122334455667788, Sequence: 9,
	Invalidations: []bus.Invalidation{
		{Op: bus.OpSet, Cache: "users", Key: "42", Epoch: 7, Revision: 1_700_000_000_000_001},
		{Op: bus.OpDelete, Cache: "users", Key: "a b\x00\xff"},
		{Op: bus.OpInvalidate, Cache: "prices", Key: "€"},
		{Op: bus.OpClear, Cache: "prices", Epoch: 7, Revision: 12},
		{Op: bus.OpTag, Cache: "prices", Key: "org:7\xff", Epoch: 7, Revision: 13},
	},
}

// golden compares got with the bytes in testdata, which are a promise to
// processes of other versions.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(hex.Dump(got)), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), hex.Dump(got))
}

func TestWire_Golden(t *testing.T) {
	golden(t, "invalidations", bus.Encode(goldenMessage))
	golden(t, "heartbeat", bus.EncodeHeartbeat("web-1", 0x1122334455667788, 9, 123456789))
	golden(t, "goodbye", bus.EncodeGoodbye("web-1", 0x1122334455667788, 9))
	golden(t, "deaf", bus.EncodeDeaf("web-1", 0x1122334455667788, 9, 123456789))
	golden(t, "barrier", bus.EncodeBarrier("web-1", 0x1122334455667788, 9, 3, 0xa1, 0xa2))
	golden(t, "arrivals", bus.EncodeArrivals("web-1", 0x1122334455667788, 9, 0xa1, 3, 4))
}

func TestWire_RoundTrip(t *testing.T) {
	got, heartbeat, _, err := bus.Decode(bus.Encode(goldenMessage))
	require.NoError(t, err)
	assert.False(t, heartbeat)
	assert.Equal(t, goldenMessage, got)
}

func TestWire_RoundTripOfAnything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		want := randomMessage(rnd)
		got, heartbeat, _, err := bus.Decode(bus.Encode(want))
		require.NoError(t, err)
		require.False(t, heartbeat)
		require.Equal(t, want, got)
	}
}

func randomMessage(rnd *rand.Rand) bus.Message {
	m := bus.Message{
		Node: randomString(rnd, 0, 64), Incarnation: rnd.Uint64(), Sequence: rnd.Uint64(),
		Invalidations: make([]bus.Invalidation, 1+rnd.IntN(20)),
	}
	caches := []string{"a", "users", randomString(rnd, 1, 255)}
	for i := range m.Invalidations {
		inv := bus.Invalidation{
			Op: bus.Op(1 + rnd.IntN(5)), Cache: caches[rnd.IntN(len(caches))],
			Epoch: rnd.Uint64(), Revision: rnd.Uint64(),
		}
		switch inv.Op {
		case bus.OpClear:
		case bus.OpTag:
			inv.Key = randomString(rnd, 1, 256)
		default:
			inv.Key = randomString(rnd, 1, 1024)
		}
		m.Invalidations[i] = inv
	}
	return m
}

func randomString(rnd *rand.Rand, least, most int) string {
	b := make([]byte, least+rnd.IntN(most-least+1))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

func TestWire_Heartbeat(t *testing.T) {
	m, heartbeat, sent, err := bus.Decode(bus.EncodeHeartbeat("n", 3, 4, 5))
	require.NoError(t, err)
	assert.True(t, heartbeat)
	assert.EqualValues(t, 5, sent)
	assert.Equal(t, "n", m.Node)
	assert.EqualValues(t, 3, m.Incarnation)
	assert.EqualValues(t, 4, m.Sequence)
}

func TestWire_EveryTruncationIsDamaged(t *testing.T) {
	for _, whole := range [][]byte{
		bus.Encode(goldenMessage), bus.EncodeHeartbeat("n", 3, 4, 5), bus.EncodeDeaf("n", 3, 4, 5),
		bus.EncodeBarrier("n", 3, 4, 5, 6), bus.EncodeArrivals("n", 3, 4, 5, 6),
		bus.EncodeAbout("n", 3, 4, 5, goldenAbout), bus.EncodeQuestion("n", 3, 4, 5, goldenPositions, 6),
		bus.EncodeAsking("n", 3, 4, 5), bus.EncodeSettings("n", 3, 4, bus.About{Settings: goldenSettings}, bus.MaxPayload),
	} {
		for n := range whole {
			m, _, _, err := bus.Decode(whole[:n])
			require.ErrorIs(t, err, bus.ErrDamaged, "first %d bytes", n)
			require.Empty(t, m.Invalidations)
		}
		_, _, _, err := bus.Decode(append(bytes.Clone(whole), 0))
		require.ErrorIs(t, err, bus.ErrDamaged, "one byte too many")
	}
}

func TestWire_ExtensionIsSkipped(t *testing.T) {
	whole := bus.Encode(goldenMessage)
	headerSize := 20 + 1 + len(goldenMessage.Node)
	extended := bytes.Clone(whole[:headerSize])
	extended[3] |= 1
	extended = append(extended, 5, 'h', 'e', 'l', 'l', 'o')
	extended = append(extended, whole[headerSize:]...)
	golden(t, "extension", extended)

	got, _, _, err := bus.Decode(extended)
	require.NoError(t, err)
	assert.Equal(t, goldenMessage, got)
}

// change returns a copy of payload with the byte at i replaced.
func change(payload []byte, i int, b byte) []byte {
	payload = bytes.Clone(payload)
	payload[i] = b
	return payload
}

func TestWire_NewerFormats(t *testing.T) {
	message, heartbeat := bus.Encode(goldenMessage), bus.EncodeHeartbeat("n", 3, 4, 5)
	for name, payload := range map[string][]byte{
		"version":              change(message, 1, 2),
		"version of heartbeat": change(heartbeat, 1, 2),
		"type":                 change(message, 2, 4),
		"quiet type":           change(message, 2, 200),
		"flag":                 change(message, 3, 2),
	} {
		m, isHeartbeat, _, err := bus.Decode(payload)
		assert.ErrorIs(t, err, bus.ErrNewer, name)
		assert.Equal(t, name == "version of heartbeat" || name == "quiet type", isHeartbeat, name)
		assert.Empty(t, m.Invalidations, name)
	}
}

func TestWire_UnknownOpIsLeftOut(t *testing.T) {
	message := goldenMessage
	message.Invalidations = append([]bus.Invalidation{{Op: 9, Cache: "users"}}, message.Invalidations...)
	got, _, _, err := bus.Decode(bus.Encode(message))
	require.ErrorIs(t, err, bus.ErrNewer)
	assert.Equal(t, goldenMessage.Invalidations, got.Invalidations)
}

func TestWire_Damaged(t *testing.T) {
	item := func(inv bus.Invalidation) []byte {
		return bus.Encode(bus.Message{Invalidations: []bus.Invalidation{inv}})
	}
	for name, payload := range map[string][]byte{
		"empty":                 {},
		"foreign":               []byte("{}"),
		"version 0":             change(bus.Encode(goldenMessage), 1, 0),
		"type 0":                change(bus.Encode(goldenMessage), 2, 0),
		"op 0":                  item(bus.Invalidation{Cache: "c", Key: "k"}),
		"no cache":              item(bus.Invalidation{Op: bus.OpSet, Key: "k"}),
		"long cache":            item(bus.Invalidation{Op: bus.OpSet, Cache: strings.Repeat("c", 256), Key: "k"}),
		"no key":                item(bus.Invalidation{Op: bus.OpSet, Cache: "c"}),
		"long key":              item(bus.Invalidation{Op: bus.OpSet, Cache: "c", Key: strings.Repeat("k", 1025)}),
		"no tag":                item(bus.Invalidation{Op: bus.OpTag, Cache: "c"}),
		"long tag":              item(bus.Invalidation{Op: bus.OpTag, Cache: "c", Key: strings.Repeat("t", 257)}),
		"key of clear":          item(bus.Invalidation{Op: bus.OpClear, Cache: "c", Key: "k"}),
		"long node":             bus.Encode(bus.Message{Node: strings.Repeat("n", 65)}),
		"too long":              bus.Encode(batch(4000)),
		"more items than bytes": append(bus.Encode(bus.Message{})[:21], 0xff, 0xff, 0x03),
		"endless number":        append(bus.Encode(bus.Message{})[:21], bytes.Repeat([]byte{0xff}, 11)...),
	} {
		m, _, _, err := bus.Decode(payload)
		assert.ErrorIs(t, err, bus.ErrDamaged, name)
		assert.Empty(t, m.Invalidations, name)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(bus.Encode(goldenMessage))
	f.Add(bus.EncodeHeartbeat("n", 3, 4, 5))
	f.Add(bus.EncodeGoodbye("n", 3, 4))
	f.Add(bus.EncodeDeaf("n", 3, 4, 5))
	f.Add(bus.EncodeBarrier("n", 3, 4, 5, 6, 7))
	f.Add(bus.EncodeArrivals("n", 3, 4, 5, 6, 7))
	f.Add(bus.EncodeAbout("n", 3, 4, 5, goldenAbout))
	f.Add(bus.EncodeQuestion("n", 3, 4, 5, goldenPositions, 6, 7))
	f.Add(bus.EncodeAsking("n", 3, 4, 5, 6))
	f.Add(bus.EncodeRollCall("n", 3, 4, 5, 6, 7))
	f.Add(bus.EncodeSettings("n", 3, 4, bus.About{Options: 5, Settings: goldenSettings}, bus.MaxPayload))
	f.Add(change(bus.Encode(goldenMessage), 1, 2))
	f.Fuzz(func(t *testing.T, payload []byte) {
		again, err := bus.Again(payload)
		if err != nil {
			return
		}
		// What can be read can be written and reads the same again.
		once, err := bus.Again(again)
		require.NoError(t, err)
		require.Equal(t, again, once)
		m, _, sent, err := bus.Decode(payload)
		require.NoError(t, err)
		m2, _, sent2, err := bus.Decode(again)
		require.NoError(t, err)
		require.Equal(t, sent, sent2)
		require.Equal(t, m, m2)
	})
}
