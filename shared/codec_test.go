package shared_test

import (
	"encoding/hex"
	"encoding/json"
	"math/big"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
)

// person has one field of each kind that codecs treat in ways of their own.
type person struct {
	Name  string
	Age   int
	Tags  []string
	Extra map[string]float64
}

var ada = person{Name: "Ada", Age: 36, Tags: []string{"math"}, Extra: map[string]float64{"x": 1.5}}

// TestCodecs_Golden: what one version stores, the next must read. A change here
// needs another codec ID.
func TestCodecs_Golden(t *testing.T) {
	for name, c := range map[string]struct {
		codec  shared.Codec
		id     uint8
		value  any
		golden string
	}{
		"raw bytes":  {shared.Raw, 0, []byte("Ada\x00"), hex.EncodeToString([]byte("Ada\x00"))},
		"raw string": {shared.Raw, 0, "Ada", hex.EncodeToString([]byte("Ada"))},
		"JSON":       {shared.JSON, 1, ada, hex.EncodeToString([]byte(`{"Name":"Ada","Age":36,"Tags":["math"],"Extra":{"x":1.5}}`))},
		"gob":        {shared.Gob, 2, ada, "397f03010106706572736f6e01ff8000010401044e616d65010c00010341676501040001045461677301ff82000105457874726101ff8400000016ff81020101085b5d737472696e6701ff8200010c000022ff83040101126d61705b737472696e675d666c6f6174363401ff8400010c0108000018ff80010341646101480101046d61746801010178fef83f00"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.id, c.codec.ID())
			golden, err := hex.DecodeString(c.golden)
			require.NoError(t, err)
			got := reflect.New(reflect.TypeOf(c.value))
			require.NoError(t, c.codec.Unmarshal(golden, got.Interface()))
			assert.Equal(t, c.value, got.Elem().Interface())
			if c.codec != shared.Gob { // numbers types in the order in which a process meets them
				data, err := c.codec.Marshal(c.value)
				require.NoError(t, err)
				assert.Equal(t, c.golden, hex.EncodeToString(data))
			}
		})
	}
}

func unmarshal[V any](t *testing.T, codec shared.Codec, data []byte) V {
	t.Helper()
	var v V
	require.NoError(t, codec.Unmarshal(data, &v))
	return v
}

func roundTrip[V any](t *testing.T, codec shared.Codec, v V) {
	t.Helper()
	data, err := codec.Marshal(v)
	require.NoError(t, err)
	assert.Equal(t, v, unmarshal[V](t, codec, data))
}

func TestCodecs_RoundTrip(t *testing.T) {
	type text string
	type blob []byte
	roundTrip(t, shared.JSON, ada)
	roundTrip(t, shared.Gob, ada)
	roundTrip(t, shared.Gob, &ada)
	roundTrip(t, shared.Raw, "\xff text")
	roundTrip(t, shared.Raw, "")
	roundTrip(t, shared.Raw, []byte{0, 255})
	roundTrip(t, shared.Raw, []byte{})
	roundTrip(t, shared.Raw, text("named"))
	roundTrip(t, shared.Raw, blob("named"))
	roundTrip(t, shared.Raw, json.RawMessage(`{}`))
}

func TestCodecs_Refuse(t *testing.T) {
	_, err := shared.Raw.Marshal(1)
	require.EqualError(t, err, "shared: Raw: int is neither bytes nor a string")
	_, err = shared.Raw.Marshal(nil)
	require.Error(t, err)
	for _, v := range []any{nil, 1, "", new(int), (*int)(nil), new([]string)} {
		require.Error(t, shared.Raw.Unmarshal([]byte("a"), v), "%T", v)
	}
	require.Error(t, shared.JSON.Unmarshal([]byte("{"), new(person)))
	require.Error(t, shared.Gob.Unmarshal([]byte("{"), new(person)))
	require.Error(t, shared.Gob.Unmarshal(nil, new(person)))
	_, err = shared.Gob.Marshal(func() {})
	require.Error(t, err)
	_, err = shared.Gob.Marshal((*person)(nil))
	require.EqualError(t, err, "shared: Gob: *shared_test.person is nil")
}

type hidesNothing struct{ Deep *hidesNothing }

type embedded struct{ A int }

type hides struct {
	embedded
	*sync.Mutex
	D     chan int
	e     any
	_     int
	empty struct{}
}

type hidesMore struct {
	M map[string][2]hides
	P *hidesMore
	a [3]int
}

// TestCodecs_Inspect: the fields that a codec does not store, by their paths.
func TestCodecs_Inspect(t *testing.T) {
	_ = hidesMore{a: [3]int{}, M: map[string][2]hides{"": {{e: 1, empty: struct{}{}}}}}
	for _, c := range []struct {
		codec shared.Codec
		of    any
		want  []string
	}{
		{shared.JSON, 1, nil},
		{shared.JSON, ada, nil},
		{shared.JSON, &hidesNothing{}, nil},
		{shared.JSON, time.Time{}, nil},
		{shared.JSON, []*big.Int{}, nil},
		{shared.JSON, hides{}, []string{"e"}},
		{shared.JSON, []*hidesMore{}, []string{"[].M[][].e", "[].a"}},
		{shared.Gob, hides{}, []string{"embedded", "D", "e"}},
		{shared.Gob, map[string]hidesMore{}, []string{"[].M[][].embedded", "[].M[][].D", "[].M[][].e", "[].P.a"}},
		{shared.Raw, []byte{}, nil},
	} {
		dropped, err := c.codec.(shared.Inspector).Inspect(reflect.TypeOf(c.of))
		require.NoError(t, err)
		assert.Equal(t, c.want, dropped, "%T", c.of)
	}
	two := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"same"`}, {Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"same"`},
	})
	dropped, err := shared.JSON.(shared.Inspector).Inspect(two)
	require.NoError(t, err)
	assert.Equal(t, []string{"A", "B"}, dropped)
	for _, codec := range []shared.Codec{shared.Raw, shared.Gob} {
		_, err := codec.(shared.Inspector).Inspect(reflect.TypeFor[any]())
		require.Error(t, err)
	}
}

// TestRaw_Copies: records are shared by the callers of a batch, and values by
// those of the near tier.
func TestRaw_Copies(t *testing.T) {
	value := []byte("Ada")
	data, err := shared.Raw.Marshal(value)
	require.NoError(t, err)
	got := unmarshal[[]byte](t, shared.Raw, data)
	clear(value)
	assert.Equal(t, "Ada", string(data))
	clear(data)
	assert.Equal(t, "Ada", string(got))
}

// FuzzCodecs: what is in the shared tier never crashes a reader, and what was
// read can be written.
func FuzzCodecs(f *testing.F) {
	for _, codec := range []shared.Codec{shared.JSON, shared.Gob} {
		data, err := codec.Marshal(ada)
		require.NoError(f, err)
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, codec := range []shared.Codec{shared.JSON, shared.Gob} {
			var p person
			if codec.Unmarshal(data, &p) == nil {
				_, err := codec.Marshal(p)
				require.NoError(t, err)
			}
			var whatever any
			_ = codec.Unmarshal(data, &whatever) // may fail, must not panic
		}
		assert.Equal(t, string(data), unmarshal[string](t, shared.Raw, data))
	})
}
