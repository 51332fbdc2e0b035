package heapsize_test

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/nearbus/nearbus/nearcache/internal/heapsize"
)

type node struct {
	next *node
	_    [100]byte
}

// with32Bits are what takes less where a pointer has four bytes.
var with32Bits = map[string]int64{
	"a slice of texts": 16 + 2, "more texts than are looked at": 8192, "a slice that occurs twice": 24 + 1024,
	"a map": 24 + 136 + 1, "a large piece with pointers": 512,
}

func TestOf(t *testing.T) {
	ring := &node{}
	ring.next = ring
	shared := make([]byte, 1000)
	var none any
	for name, c := range map[string]struct {
		value any
		size  int64
	}{
		"a number":                        {new(int), 0},
		"text":                            {new("0123456789abcdef0"), 24},
		"short text":                      {new("abc"), 3},
		"nothing":                         {&none, 0},
		"no slice":                        {new([]byte), 0},
		"a slice with room":               {new(make([]byte, 0, 33)), 48},
		"a slice of texts":                {new([]string{"a", "b"}), 32 + 2},
		"more texts than are looked at":   {new(make([]string, 1000)), 16384},
		"a number in an interface":        {new(any(1.5)), 8},
		"a truth in an interface":         {new(any(true)), 0},
		"a pointer in an interface":       {new(any(new(int64))), 8},
		"a ring":                          {new(ring), 112},
		"a slice that occurs twice":       {new([][]byte{shared, shared}), 48 + 1024},
		"a time":                          {new(time.Now()), 0},
		"a pointer to a time":             {new(new(time.Now())), 24},
		"no map":                          {new(map[string]int(nil)), 0},
		"an empty map":                    {new(map[string]int{}), 48},
		"a map":                           {new(map[string]int{"a": 1}), 48 + 208 + 1},
		"large pieces":                    {new(make([]byte, 40<<10)), 40 << 10},
		"beyond what there is a size for": {new(make([]byte, 33<<10)), 40 << 10},
		"a large piece with pointers":     {new(make([]*int, 128)), 1152},
		"an array":                        {new([2]string{"ab", "c"}), 3},
		"a function":                      {new(func() {}), 0},
	} {
		if smaller, ok := with32Bits[name]; ok && strconv.IntSize == 32 {
			c.size = smaller
		}
		assert.Equal(t, c.size, heapsize.Of(reflect.ValueOf(c.value).Elem(), reflect.Value{}), name)
	}
}

// TestOf_NotItsOwn: what a value shares with its twin is not its own, and is not even read: others may
// change it meanwhile.
func TestOf_NotItsOwn(t *testing.T) {
	global := &struct {
		names map[string]string
		next  any
	}{map[string]string{"a": "b"}, new("x")}
	type value struct {
		of    any
		texts []string
		byKey map[string]any
	}
	one := func() *value {
		return &value{global, []string{"ab"}, map[string]any{"k": global, "own": new("cde")}}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				global.names["c"] = "d"
			}
		}
	}()
	v, twin := one(), one()
	for range 1000 {
		size := heapsize.Of(reflect.ValueOf(v).Elem(), reflect.ValueOf(twin).Elem())
		own := heapsize.Of(reflect.ValueOf(&v.texts).Elem(), reflect.Value{})
		table := heapsize.Of(reflect.ValueOf(&map[string]any{"k": nil, "own": new("cde")}).Elem(), reflect.Value{})
		require.Equal(t, own+table, size)
	}
	close(stop)
	<-stopped
}

// TestOf_Message: a message does not take what is known of its type.
func TestOf_Message(t *testing.T) {
	data, err := proto.Marshal(wrapperspb.String("hello"))
	require.NoError(t, err)
	var v, twin wrapperspb.StringValue
	require.NoError(t, proto.Unmarshal(data, &v))
	require.NoError(t, proto.Unmarshal(data, &twin))
	assert.EqualValues(t, len("hello"), heapsize.Of(reflect.ValueOf(&v).Elem(), reflect.ValueOf(&twin).Elem()))
}

func TestOf_EndsOnWhatIsDeep(t *testing.T) {
	var list *node
	for range 1 << 20 {
		list = &node{next: list}
	}
	size := heapsize.Of(reflect.ValueOf(list), reflect.Value{})
	assert.Positive(t, size)
	assert.LessOrEqual(t, size, int64(112<<14))
}

func TestEstimate(t *testing.T) {
	var e heapsize.Estimate
	asked := 0
	size := func(length int, share int64) int64 {
		if e.Due(length) {
			asked++
			e.Learn(length, int64(length)*share)
		}
		return e.Size(length)
	}
	for range 10_000 {
		assert.InEpsilon(t, 700, size(100, 7), 0.02)
		assert.InEpsilon(t, 2000, size(1000, 2), 0.02, "other lengths have a share of their own")
	}
	assert.Less(t, asked, 400)
	assert.Less(t, e.Accuracy().Error, 0.02)
	for range 100_000 {
		size(100, 3)
	}
	assert.InEpsilon(t, 300, size(100, 3), 0.1, "what values take has changed")
}

func TestEstimate_TellsWhatLengthsDoNot(t *testing.T) {
	var e heapsize.Estimate
	for i := range int64(10_000) {
		e.Learn(100, 100+i%2*10_000)
	}
	assert.Greater(t, e.Accuracy().Error, 0.5)
}

func TestEstimate_Unknown(t *testing.T) {
	var e heapsize.Estimate
	assert.EqualValues(t, 100, e.Size(100))
	assert.Zero(t, e.Accuracy())
}
