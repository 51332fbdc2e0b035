package cborcodec_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/cborcodec"
)

type person struct {
	Name  string `json:"name"`
	Born  time.Time
	Tags  []string
	Extra any
}

var ada = person{
	Name:  "Ada",
	Born:  time.Date(1815, 12, 10, 1, 2, 3, 4, time.FixedZone("", 3600)),
	Tags:  []string{"math"},
	Extra: map[string]any{"x": uint64(1)},
}

// TestCodec_Golden: what one version stores, the next must read. A change here
// needs another codec ID.
func TestCodec_Golden(t *testing.T) {
	codec := cborcodec.New()
	assert.Equal(t, shared.CodecCBOR, codec.ID())
	assert.EqualValues(t, 3, codec.ID())
	data, err := codec.Marshal(ada)
	require.NoError(t, err)
	assert.Equal(t, "a4"+
		"646e616d6563416461"+
		"64426f726ec07823313831352d31322d31305430313a30323a30332e3030303030303030342b30313a3030"+
		"645461677381646d617468"+
		"654578747261a1617801", hex.EncodeToString(data))
}

func TestCodec_RoundTrip(t *testing.T) {
	codec := cborcodec.New()
	data, err := codec.Marshal(ada)
	require.NoError(t, err)
	var got person
	require.NoError(t, codec.Unmarshal(data, &got))
	assert.True(t, ada.Born.Equal(got.Born), got.Born)
	got.Born = ada.Born
	assert.Equal(t, ada, got)
}

// TestCodec_ReadsWhatItWrites: a limit of the decoder below what the encoder
// writes would make a key a miss for good.
func TestCodec_ReadsWhatItWrites(t *testing.T) {
	codec := cborcodec.New()
	data, err := codec.Marshal(make([]bool, 1<<20))
	require.NoError(t, err)
	var got []bool
	require.NoError(t, codec.Unmarshal(data, &got))
	assert.Len(t, got, 1<<20)
}

func TestCodec_Refuses(t *testing.T) {
	codec := cborcodec.New()
	for name, data := range map[string]string{
		"nothing":                "",
		"cut short":              "a1",
		"more than one item":     "0101",
		"a longer array than is": "9b7fffffffffffffff",
		"a longer text than is":  "7b7fffffffffffffff",
		"too deep":               hex.EncodeToString(deep(1000)),
	} {
		raw, err := hex.DecodeString(data)
		require.NoError(t, err)
		var v any
		require.Error(t, codec.Unmarshal(raw, &v), name)
	}
	_, err := codec.Marshal(func() {})
	require.Error(t, err)
}

// deep is an array in an array, n times.
func deep(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = 0x81
	}
	return append(data, 0)
}

func FuzzUnmarshal(f *testing.F) {
	codec := cborcodec.New()
	data, err := codec.Marshal(ada)
	require.NoError(f, err)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		var p person
		if codec.Unmarshal(data, &p) == nil {
			_, _ = codec.Marshal(p) // what was read may have no form of its own, such as a year 10000
		}
		var whatever any
		_ = codec.Unmarshal(data, &whatever) // may fail, must not panic
	})
}
