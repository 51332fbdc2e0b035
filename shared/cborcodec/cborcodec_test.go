package cborcodec_test

import (
	"encoding/hex"
	"math/big"
	"net"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
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
		"too deep":               hex.EncodeToString(deep(10001)),
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

type rated struct {
	Rate  *big.Rat
	Float big.Float
	Match *regexp.Regexp `json:"match,omitempty"`
	Extra map[string]any
	Sub   []*rated
}

// TestCodec_TextsThatWereEmptied: records of a version that wrote an empty map in the
// place of a text are refused, wherever the map is; others with empty maps are not.
func TestCodec_TextsThatWereEmptied(t *testing.T) {
	codec := cborcodec.New()
	before, err := cbor.EncOptions{}.EncMode() // as it was written
	require.NoError(t, err)
	for name, v := range map[string]any{
		"all of it":    big.NewRat(1, 3),
		"a field":      rated{Rate: big.NewRat(1, 3)},
		"one by value": rated{},
		"a tag": struct {
			Match *regexp.Regexp `json:"m"`
		}{regexp.MustCompile("a")},
		"deep":  map[int][]*big.Rat{1: {nil, big.NewRat(1, 3)}},
		"below": struct{ Sub []*rated }{[]*rated{{Rate: big.NewRat(1, 3)}}},
	} {
		data, err := before.Marshal(v)
		require.NoError(t, err)
		target := reflect.New(reflect.TypeOf(v)).Interface()
		require.EqualError(t, codec.Unmarshal(data, target), "cborcodec: there is an empty map in the place of a text", name)
	}
	v := rated{Rate: big.NewRat(1, 3), Extra: map[string]any{"e": map[string]any{}}, Sub: []*rated{{Extra: map[string]any{}}}}
	data, err := codec.Marshal(v)
	require.NoError(t, err)
	var got rated
	require.NoError(t, codec.Unmarshal(data, &got))
	assert.Equal(t, "1/3", got.Rate.RatString())
	assert.Equal(t, v.Extra, got.Extra)
}

// state has a text, and had a form before texts were heeded.
type state int

func (s state) MarshalText() ([]byte, error)  { return []byte{'0' + byte(s)}, nil }
func (s *state) UnmarshalText(b []byte) error { *s = state(b[0] - '0'); return nil }

// TestCodec_FormsAreAsTheyWere: only what was lost has another form than before.
func TestCodec_FormsAreAsTheyWere(t *testing.T) {
	codec := cborcodec.New()
	for _, v := range []any{state(1), net.IP{1, 2, 3, 4}, map[state]net.IP{1: {1}}, struct{ At struct{ S state } }{}} {
		before, err := cbor.Marshal(v)
		require.NoError(t, err)
		data, err := codec.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, before, data, "%T", v)
	}
}

func TestCodec_MapsInAny(t *testing.T) {
	codec := cborcodec.New()
	data, err := codec.Marshal(map[int]any{1: map[string]string{"a": "b"}, 2: []any{map[string]int{}}})
	require.NoError(t, err)
	var got any
	require.NoError(t, codec.Unmarshal(data, &got))
	assert.Equal(t, map[any]any{uint64(1): map[string]any{"a": "b"}, uint64(2): []any{map[string]any{}}}, got)
	_, err = codec.Marshal(struct{ V any }{map[int]int{1: 1}})
	require.ErrorContains(t, err, "cborcodec: what is written of a struct { V interface {} } cannot be read back")
}
