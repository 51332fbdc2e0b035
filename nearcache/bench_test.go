package nearcache_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

type record struct {
	ID      int64
	Name    string
	Email   string
	Country string
	Active  bool
	Balance float64
}

// BenchmarkHit reads from the near tier: one hot key, or 100,000 keys in a
// random order.
func BenchmarkHit(b *testing.B) {
	b.Run("struct", func(b *testing.B) { benchmarkHit(b, record{ID: 42, Name: "Ada"}) })
	b.Run("bytes", func(b *testing.B) { benchmarkHit(b, make([]byte, 256)) })
}

func benchmarkHit[V any](b *testing.B, v V) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{NearBytes: 256 << 20})
	require.NoError(b, err)
	defer func() { require.NoError(b, node.Close()) }()
	c, err := nearcache.New(node, "users", nearcache.Options[V]{TTL: 1e15, NearTTL: 1e15})
	require.NoError(b, err)
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = "user:" + strconv.Itoa(10_000_000_000+i)
		require.NoError(b, c.Set(b.Context(), keys[i], v))
	}
	order := make([]string, 1<<16)
	for i := range order {
		order[i] = keys[rand.N(len(keys))]
	}
	load := func(context.Context, string) (V, error) { return *new(V), errNoLoad }
	for name, next := range map[string]func(i int) string{
		"hot":    func(int) string { return keys[7] },
		"spread": func(i int) string { return order[i%len(order)] },
	} {
		b.Run(name, func(b *testing.B) {
			ctx, i := b.Context(), 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Fetch(ctx, next(i), load); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			ctx := b.Context()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.N(len(order)); pb.Next(); i++ {
					if _, err := c.Fetch(ctx, next(i), load); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
