package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
)

type address struct {
	Street, City string
	Lines        []string
}

type person struct {
	Name, Mail string
	Home, Work *address
	Born       time.Time
	Roles      map[string]bool
}

type tree struct {
	N           int
	Left, Right *tree
}

func newTree(depth int) *tree {
	if depth == 0 {
		return nil
	}
	return &tree{N: depth, Left: newTree(depth - 1), Right: newTree(depth - 1)}
}

func text(n int) string { return strings.Repeat("x", n) }

func object(fields int) map[string]any {
	o := make(map[string]any)
	for i := range fields {
		o[fmt.Sprint("field", i)] = []any{float64(i), text(i), map[string]any{"a": true, "b": nil}}
	}
	return o
}

// heapOver returns how much of the heap a full near tier takes for each byte of NearBytes.
func heapOver[V any](t testing.TB, value func(i int) V) float64 {
	const room = 4 << 20
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	messages, err := bus.New(membus.NewHub().Join(), bus.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, messages.Close()) }()
	node, err := nearcache.NewNode(nil, messages, nearcache.NodeOptions{NearBytes: room})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close(atOnce)) }()
	c, err := nearcache.New(node, "values", nearcache.Options[V]{NearTTL: time.Hour, TTL: time.Hour})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !node.Health().BusCut }, 10*time.Second, time.Millisecond)
	for i := 0; node.Stats().Near.Evicted < 100; i++ {
		_, err := c.Fetch(t.Context(), fmt.Sprint("user:", i), func(context.Context, string) (V, error) { return value(i), nil })
		require.NoError(t, err)
	}
	after := heap()
	runtime.KeepAlive(c)
	return float64(after-before) / room
}

func TestNearBytes_BoundWhatValuesTake(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, over := range map[string]func() float64{
		"bytes":     func() float64 { return heapOver(t, func(int) []byte { return make([]byte, 256) }) },
		"few bytes": func() float64 { return heapOver(t, func(int) []byte { return make([]byte, 20) }) },
		"bytes of any length": func() float64 {
			return heapOver(t, func(int) []byte { return make([]byte, random.IntN(4000)) })
		},
		"strings":  func() float64 { return heapOver(t, func(i int) string { return text(i % 100) }) },
		"numbers":  func() float64 { return heapOver(t, func(i int) int { return i }) },
		"maps":     func() float64 { return heapOver(t, func(int) map[string]any { return object(10) }) },
		"all maps": func() float64 { return heapOver(t, func(i int) map[string]any { return object(i % 30) }) },
		"maps of numbers": func() float64 {
			return heapOver(t, func(i int) map[int]int {
				m := make(map[int]int)
				for n := range i % 300 {
					m[n] = n
				}
				return m
			})
		},
		"structs": func() float64 {
			return heapOver(t, func(i int) person {
				return person{
					Name: text(12), Mail: text(20 + i%7), Born: time.Unix(int64(i), 0).UTC(),
					Home: &address{text(20), text(10), []string{text(5), text(6)}}, Work: &address{text(20), text(10), nil},
					Roles: map[string]bool{"admin": true, "user": i%2 == 0},
				}
			})
		},
		"trees":             func() float64 { return heapOver(t, func(int) *tree { return newTree(6) }) },
		"pointers":          func() float64 { return heapOver(t, func(i int) *int { return &i }) },
		"numbers in slices": func() float64 { return heapOver(t, func(i int) []int { return make([]int, i%50) }) },
		"slices of slices": func() float64 {
			return heapOver(t, func(i int) [][]string { return [][]string{{"a", "b"}, {text(i % 10)}, nil, {}} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			ratio := over()
			t.Logf("%.2f", ratio)
			assert.Less(t, ratio, 1.3)
			assert.Greater(t, ratio, 0.7)
		})
	}
}

// lists returns a value whose encoding has always the same length: many lists, or one text.
func lists(many bool) []any {
	const n = 100
	if !many {
		return []any{text(3*n - 3)}
	}
	return slices.Repeat([]any{[]any{}}, n)
}

func TestSizes_TellWhatLengthsDoNot(t *testing.T) {
	for name, c := range map[string]struct {
		cost  func([]any) int64
		shape func(i int) bool
		told  bool
	}{
		"the same shape":             {nil, func(int) bool { return true }, false},
		"shapes that differ":         {nil, func(int) bool { return rand.IntN(8) == 0 }, true},
		"shapes that differ, a Cost": {func([]any) int64 { return 100 }, func(int) bool { return rand.IntN(8) == 0 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lines
				messages, err := bus.New(membus.NewHub().Join(), bus.Options{})
				require.NoError(t, err)
				node, err := nearcache.NewNode(nil, messages, nearcache.NodeOptions{Logger: log.logger()})
				require.NoError(t, err)
				defer func() { require.NoError(t, errors.Join(node.Close(atOnce), messages.Close())) }()
				cache, err := nearcache.New(node, "values", nearcache.Options[[]any]{Cost: c.cost})
				require.NoError(t, err)
				for i := range 20_000 {
					require.NoError(t, cache.Set(t.Context(), fmt.Sprint(i), lists(c.shape(i))))
				}
				sizes := node.Caches()[0].Sizes
				assert.Equal(t, c.cost == nil, sizes.Samples > 300, sizes)
				assert.Equal(t, c.told, sizes.Error > 0.5, sizes)
				assert.Equal(t, c.told, log.count("differs too much") > 0)
				assert.LessOrEqual(t, log.count("differs too much"), 1)
			})
		})
	}
}
