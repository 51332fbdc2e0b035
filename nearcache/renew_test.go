package nearcache_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// TestG6_LeasesStandUntilTheFill: what was loaded is stored in parts, and each takes
// its time. The leases of those that come last stand until then: nobody else loads.
func TestG6_LeasesStandUntilTheFill(t *testing.T) {
	for name, opts := range map[string]nearcache.Options[string]{"in place": {}, "beside": keeping} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.tierOpts = shared.Options{LeaseTTL: time.Second}
				a, b := f.join(opts), f.join(opts)
				keys := numbered(4)
				if opts.Stale.For > 0 {
					old, err := isAll("old")(t.Context(), keys)
					require.NoError(t, err)
					require.NoError(t, b.SetMany(t.Context(), old))
					time.Sleep(time.Minute + time.Second)
				}
				f.store.onBefore(func(ctx context.Context, op, key string) error {
					if op == "fill" && !strings.Contains(key, "!refresh:") {
						time.Sleep(500 * time.Millisecond)
					}
					return nil
				})
				loads, large := newNotes(), strings.Repeat("x", 4<<20) // each value is a part
				load := func(ctx context.Context, keys []string) (map[string]string, error) {
					loads.add(keys)
					return isAll(large)(ctx, keys)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					values, err := a.FetchMany(t.Context(), keys, load)
					assert.NoError(t, err)
					assert.Len(t, values, len(keys))
				}()
				time.Sleep(1300 * time.Millisecond) // the third is being stored
				values, err := b.FetchMany(t.Context(), keys, load)
				require.NoError(t, err)
				assert.Len(t, values, len(keys))
				<-done
				for key, n := range loads.n {
					assert.Equal(t, 1, n, key)
				}
				assert.Zero(t, a.Stats().Loads.Rejected)
			})
		})
	}
}

// TestG6_SlowCodec: a lease stands while its value is encoded, too.
func TestG6_SlowCodec(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts = shared.Options{LeaseTTL: time.Second}
		opts := nearcache.Options[string]{Codec: sluggish{shared.JSON, 3 * time.Second}}
		a, b := f.join(opts), f.join()
		load, loads := counting("v", 0)
		done := make(chan error)
		go func() {
			_, err := a.Fetch(t.Context(), "k", load)
			done <- err
		}()
		time.Sleep(2500 * time.Millisecond)
		v, err := b.Fetch(t.Context(), "k", load)
		require.NoError(t, err)
		assert.Equal(t, "v", v)
		require.NoError(t, <-done)
		assert.EqualValues(t, 1, loads.Load())
		assert.Zero(t, a.Stats().Loads.Rejected)
	})
}

// sluggish is a codec that takes its time to encode.
type sluggish struct {
	shared.Codec
	takes time.Duration
}

func (s sluggish) Marshal(v any) ([]byte, error) {
	time.Sleep(s.takes)
	return s.Codec.Marshal(v)
}

// TestG6_OneServerHangs: leases on servers that answer are renewed in time while
// another one hangs, however patient Options.Timeout is.
func TestG6_OneServerHangs(t *testing.T) {
	for name, from := range map[string]time.Duration{"from the beginning": 0, "while others load": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.tierOpts = shared.Options{LeaseTTL: time.Second, Timeout: 3 * time.Second}
				a, b := f.join(), f.join()
				began := time.Now()
				f.store.onBefore(func(ctx context.Context, op, key string) error {
					if op == "acquire" && strings.HasSuffix(key, ":9") && time.Since(began) >= from {
						<-ctx.Done() // it is the last one that the store asks for
						time.Sleep(10 * time.Millisecond)
						return ctx.Err()
					}
					return nil
				})
				loads := newNotes()
				load := func(ctx context.Context, keys []string) (map[string]string, error) {
					loads.add(keys)
					time.Sleep(10 * time.Second)
					return isAll("v")(ctx, keys)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, err := a.FetchMany(t.Context(), numbered(10), load)
					assert.NoError(t, err)
				}()
				time.Sleep(10 * time.Second)
				values, err := b.FetchMany(t.Context(), numbered(9), load)
				require.NoError(t, err)
				assert.Len(t, values, 9)
				<-done
				time.Sleep(time.Second) // the last renewal ends
				for key, n := range loads.n {
					assert.Equal(t, 1, n, key)
				}
			})
		})
	}
}
