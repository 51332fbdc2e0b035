package nearcache_test

import (
	"context"
	oldrand "math/rand" // has the distribution
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

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

// BenchmarkHit reads from the near tier: one hot key, 100,000 keys in a
// random order, or the same as popular as Zipf has them.
func BenchmarkHit(b *testing.B) {
	b.Run("struct", func(b *testing.B) { benchmarkHit(b, record{ID: 42, Name: "Ada"}) })
	b.Run("bytes", func(b *testing.B) { benchmarkHit(b, make([]byte, 256)) })
}

func benchmarkHit[V any](b *testing.B, v V) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{NearBytes: 256 << 20})
	require.NoError(b, err)
	defer func() { require.NoError(b, node.Close(atOnce)) }()
	c, err := nearcache.New(node, "users", nearcache.Options[V]{TTL: 1e15, NearTTL: 1e15})
	require.NoError(b, err)
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = "user:0" + strconv.Itoa(1_000_000_000+i)
		require.NoError(b, c.Set(b.Context(), keys[i], v))
	}
	order, skewed := make([]string, 1<<16), make([]string, 1<<20)
	for i := range order {
		order[i] = keys[rand.N(len(keys))]
	}
	zipf := oldrand.NewZipf(oldrand.New(oldrand.NewSource(1)), 1.01, 1, uint64(len(keys)-1))
	for i := range skewed {
		skewed[i] = keys[zipf.Uint64()]
	}
	load := func(context.Context, string) (V, error) { return *new(V), errNoLoad }
	for range 3 { // what the policy was too busy to be offered
		for _, key := range keys {
			_, err := c.Fetch(b.Context(), key, load)
			require.NoError(b, err)
		}
	}
	for name, next := range map[string]func(i int) string{
		"hot":    func(int) string { return keys[7] },
		"spread": func(i int) string { return order[i%len(order)] },
		"zipf":   func(i int) string { return skewed[i%len(skewed)] },
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

// BenchmarkHit_Tagged reads values with three tags each from the near tier, of so many tags that
// were all invalidated before, and none or another one since.
func BenchmarkHit_Tagged(b *testing.B) {
	for _, tags := range []int{10, 1000, 10_000, 400_000} {
		b.Run(strconv.Itoa(tags), func(b *testing.B) { benchmarkTaggedHit(b, tags) })
	}
}

func benchmarkTaggedHit(b *testing.B, tags int) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{NearBytes: 256 << 20})
	require.NoError(b, err)
	defer func() { require.NoError(b, node.Close(atOnce)) }()
	c, err := nearcache.New(node, "users", nearcache.Options[record]{TTL: 1e15, NearTTL: 1e15})
	require.NoError(b, err)
	name := func(i int) string { return "tag:" + strconv.Itoa(i%tags) }
	for i := 0; i < tags; i += 1000 {
		var some []string
		for j := i; j < min(tags, i+1000); j++ {
			some = append(some, name(j))
		}
		require.NoError(b, c.InvalidateTags(b.Context(), some...))
	}
	keys := make([]string, 50_000)
	for i := range keys {
		keys[i] = "user:0" + strconv.Itoa(1_000_000_000+i)
		entry := nearcache.Entry[record]{Value: record{ID: 42}, Tags: []string{name(i), name(7 * i), name(13 * i)}}
		require.NoError(b, c.SetEntry(b.Context(), keys[i], entry))
	}
	load := func(context.Context, string) (record, error) { return record{}, errNoLoad }
	for _, since := range []string{"none", "another"} {
		for name, next := range map[string]func(i int) string{
			"hot":    func(int) string { return keys[7] },
			"spread": func(i int) string { return keys[i*7919%len(keys)] },
		} {
			b.Run(since+"/"+name, func(b *testing.B) {
				ctx, i := b.Context(), 0
				for b.Loop() {
					if _, err := c.Fetch(ctx, next(i), load); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		}
		require.NoError(b, c.InvalidateTags(b.Context(), "another-1"))
	}
}

// BenchmarkFeature is what each feature adds to a hit and to a Set in memory.
func BenchmarkFeature(b *testing.B) {
	type options = nearcache.Options[record]
	const long = time.Hour
	for _, f := range []struct {
		name string
		opts options
		tags []string
	}{
		{name: "none"},
		{name: "3 tags", tags: []string{"org:7", "country:uk", "active"}},
		{name: "FailSafe", opts: options{Stale: nearcache.Stale{For: long, Timeout: time.Second}}},
		{name: "RefreshAhead", opts: options{RefreshAhead: time.Minute}},
		{name: "NotFoundTTL", opts: options{NotFoundTTL: long}},
		{name: "TTLJitter", opts: options{TTLJitter: 0.1}},
		{name: "MaxConcurrentLoads", opts: options{MaxConcurrentLoads: 10}},
		{name: "Schema", opts: options{SchemaVersion: 2}},
		{name: "Clone", opts: options{Clone: func(r record) record { return r }}},
	} {
		f.opts.TTL = long
		entry := nearcache.Entry[record]{Value: record{ID: 42, Name: "Ada"}, Tags: f.tags}
		b.Run(f.name, func(b *testing.B) { benchmarkFeature(b, f.opts, entry) })
	}
}

func benchmarkFeature(b *testing.B, opts nearcache.Options[record], entry nearcache.Entry[record]) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	require.NoError(b, err)
	defer func() { require.NoError(b, node.Close(atOnce)) }()
	opts.NearTTL = opts.TTL
	c, err := nearcache.New(node, "users", opts)
	require.NoError(b, err)
	ctx := b.Context()
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.SetEntry(ctx, "user:1", entry); err != nil {
				b.Fatal(err)
			}
		}
	})
	load := func(context.Context, string) (record, error) { return record{}, errNoLoad }
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Fetch(ctx, "user:1", load); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Read(ctx, "user:1", nearcache.ReadOptions{MaxAge: time.Minute}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBatchHit reads batches of 100 of 100,000 keys that are near, in an order in
// which nothing is where the one before it was.
func BenchmarkBatchHit(b *testing.B) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{NearBytes: 256 << 20})
	require.NoError(b, err)
	defer func() { require.NoError(b, node.Close(atOnce)) }()
	c, err := nearcache.New(node, "users", nearcache.Options[record]{TTL: time.Hour, NearTTL: time.Hour})
	require.NoError(b, err)
	const batch = 100
	keys := make([]string, 100_000)
	for i, at := range rand.Perm(len(keys)) {
		keys[at] = "user:0" + strconv.Itoa(1_000_000_000+i)
	}
	for i := range keys {
		require.NoError(b, c.Set(b.Context(), "user:0"+strconv.Itoa(1_000_000_000+i), record{ID: 42, Name: "Ada"}))
	}
	i := 0
	for b.Loop() {
		found, err := c.GetMany(b.Context(), keys[i:i+batch])
		if err != nil || len(found) != batch {
			b.Fatal(len(found), err)
		}
		i = (i + batch) % len(keys)
	}
}

// BenchmarkShared reads what is in the shared tier and not near: one key, and a
// batch of 100. The store is in memory, so what is left is the library's own.
func BenchmarkShared(b *testing.B) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	require.NoError(b, err)
	defer func() { require.NoError(b, node.Close(atOnce)) }()
	c, err := nearcache.New(node, "users", nearcache.Options[record]{TTL: time.Hour, NearTTL: time.Nanosecond})
	require.NoError(b, err)
	const batch = 100
	keys := make([]string, 100_000) // near copies live for a tick of the clock at least
	ctx := b.Context()
	for i := range keys {
		keys[i] = "user:0" + strconv.Itoa(1_000_000_000+i)
		require.NoError(b, c.Set(ctx, keys[i], record{ID: 42, Name: "Ada"}))
	}
	load := func(context.Context, string) (record, error) { return record{}, errNoLoad }
	loadMany := func(context.Context, []string) (map[string]record, error) { return nil, errNoLoad }
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := c.Fetch(ctx, keys[i%len(keys)], load); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			found, err := c.FetchMany(ctx, keys[i:i+batch], loadMany)
			if err != nil || len(found) != batch {
				b.Fatal(len(found), err)
			}
			i = (i + batch) % len(keys)
		}
	})
}
