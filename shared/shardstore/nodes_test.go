package shardstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// node returns a node over store, and over a bus if there is a hub.
func node(t *testing.T, store driver.Store, hub *membus.Hub, opts ...nearcache.NodeOptions) *nearcache.Node {
	t.Helper()
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	var b *bus.Bus
	if hub != nil {
		b, err = bus.New(hub.Join(), bus.Options{})
		require.NoError(t, err)
	}
	n, err := nearcache.NewNode(tier, b, append(opts, nearcache.NodeOptions{})[0])
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = n.Close(atOnce) // which tells of what was not delivered
		if b != nil {
			require.NoError(t, b.Close())
		}
	})
	return n
}

func TestCoherence(t *testing.T) {
	p, hub := apart(), membus.NewHub()
	nearcachetest.Run(t, nearcachetest.Fleet{Join: func(ctx context.Context) (*nearcache.Node, error) {
		store := newStore(t, p.shards("behind", "here", "ahead"), shardstore.Options{Handover: 50 * time.Millisecond})
		return node(t, store, hub), store.Open(ctx)
	}})
}

// TestG7_HangingShardCostsOthersNothing: what is near of the others is served as
// before, however little a node may trust what it cannot confirm.
func TestG7_HangingShardCostsOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		s := p.open(t, 1, "a", "b", "c")
		n := node(t, s, nil, nearcache.NodeOptions{JournalInterval: 200 * time.Millisecond, MaxStaleness: 500 * time.Millisecond})
		c, err := nearcache.New(n, "c", nearcache.Options[string]{NearTTL: time.Minute})
		require.NoError(t, err)
		var theirs []string // of the others
		for _, key := range keys(60) {
			require.NoError(t, c.Set(t.Context(), key, "v"))
			if homeOf(t, s, "c:"+key) != "b" {
				theirs = append(theirs, key)
			}
		}
		require.NotEqual(t, "b", homeOf(t, s, "c!clock"))
		get := func() {
			for _, key := range theirs {
				_, err := c.Get(t.Context(), key)
				require.NoError(t, err)
			}
		}
		time.Sleep(time.Second)
		get()
		p["b"].hangs.Store(true)
		time.Sleep(time.Second)
		misses := c.Stats().Reads.Misses
		for range 1000 {
			time.Sleep(7 * time.Millisecond)
			get()
		}
		require.Equal(t, misses, c.Stats().Reads.Misses)
		p["b"].hangs.Store(false)
	})
}

// truth is the source: a version for each key, and when each was acknowledged.
type truth struct {
	mu       sync.Mutex
	versions map[string]int
	acked    map[string][]time.Time // by version; zero while it is not
}

func (s *truth) load(_ context.Context, key string) (int, error) {
	time.Sleep(rand.N(20 * time.Millisecond))
	s.mu.Lock()
	version := s.versions[key]
	s.mu.Unlock()
	time.Sleep(rand.N(20 * time.Millisecond))
	return version, nil
}

// least returns the version that an answer to a read that begins now may not be
// below.
func (s *truth) least(key string, bound time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := len(s.acked[key]) - 1; v > 0; v-- {
		if at := s.acked[key][v]; !at.IsZero() && time.Since(at) > bound {
			return v
		}
	}
	return 0
}

// write writes the next version of key, which has one writer.
func (s *truth) write(ctx context.Context, c *nearcache.Cache[int], key string) (version int, err error) {
	s.mu.Lock()
	s.versions[key]++
	version = s.versions[key]
	for len(s.acked[key]) <= version {
		s.acked[key] = append(s.acked[key], time.Time{})
	}
	s.mu.Unlock()
	if err = c.Set(ctx, key, version); err == nil {
		s.mu.Lock()
		s.acked[key][version] = time.Now()
		s.mu.Unlock()
	}
	return version, err
}

// TestHazard16_NodesWhileTheMapChanges: nodes read and write while a shard joins
// and leaves. None answers with a version older than the bound, or than what it
// wrote or answered before. Once the bus tells, once the journals alone.
func TestHazard16_NodesWhileTheMapChanges(t *testing.T) {
	for name, withBus := range map[string]bool{"with a bus": true, "with the journals alone": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { whileTheMapChanges(t, withBus) })
		})
	}
}

func whileTheMapChanges(t *testing.T, withBus bool) {
	p := newPark("a", "b", "c")
	var hub *membus.Hub
	if withBus {
		hub = membus.NewHub()
	}
	source := &truth{versions: map[string]int{}, acked: map[string][]time.Time{}}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var answers, failures atomic.Int64
	joined := 0
	join := func(epoch uint64, names ...string) {
		store := p.open(t, epoch, names...)
		c, err := nearcache.New[int](node(t, store, hub), "users", nearcache.Options[int]{})
		require.NoError(t, err)
		for i := range 6 {
			key := fmt.Sprint(i)
			wg.Go(func() {
				for floor := 0; ctx.Err() == nil; time.Sleep(rand.N(100 * time.Millisecond)) {
					floor = max(floor, source.least(key, 6100*time.Millisecond))
					v, err := c.Fetch(t.Context(), key, source.load)
					if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, v, floor, "key %s", key) {
						return
					}
					answers.Add(1)
					floor = v
				}
			})
		}
		own := fmt.Sprint(joined) // writers of one key at a time would have no order
		joined++
		wg.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(rand.N(400 * time.Millisecond))
				version, err := source.write(t.Context(), c, own)
				if err != nil && !assert.ErrorIs(t, err, nearcache.ErrOutcomeUnknown) {
					return
				}
				if err != nil {
					failures.Add(1)
				}
				v, err := c.Fetch(t.Context(), own, source.load)
				if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, v, version, "own write") {
					return
				}
			}
		})
	}
	join(1, "a", "b", "-c")
	join(1, "a", "b", "-c")
	for epoch := uint64(2); epoch <= 5; epoch++ {
		time.Sleep(20 * time.Second)
		join(epoch, "a", "b", []string{"c", "-c"}[epoch%2])
	}
	time.Sleep(20 * time.Second)
	stop()
	wg.Wait()
	t.Logf("%d answers, %d writes with an unknown outcome", answers.Load(), failures.Load())
	assert.Positive(t, answers.Load())
	assert.Positive(t, failures.Load(), "no write met a change")
}

// TestHazard1_ClearedStaysCleared: what was cleared before the clock moved does
// not come back to a node that is started after.
func TestHazard1_ClearedStaysCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		clock := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		name := clock[:len(clock)-len("!clock")]
		open := func(store driver.Store) *nearcache.Cache[string] {
			c, err := nearcache.New[string](node(t, store, nil), name, nearcache.Options[string]{})
			require.NoError(t, err)
			return c
		}
		old := open(p.open(t, 1, "a", "b", "-c"))
		for _, key := range keys(20) {
			require.NoError(t, old.Set(t.Context(), key, "v"))
		}
		require.NoError(t, old.Clear(t.Context()))
		next := open(p.open(t, 2, "a", "b", "c"))
		for _, key := range keys(20) {
			_, err := next.Get(t.Context(), key)
			if !errors.Is(err, nearcache.ErrNotFound) {
				t.Fatalf("%s came back: %v", key, err)
			}
		}
	})
}

// TestG7_NewsOfAKeyThatMoved: a server that has the next map tells of writes to the shard
// that joined, whose epoch is later than that of the shard that the keys left. Servers that
// have the map before, and take its news for news of that one, are not without it for long.
func TestG7_NewsOfAKeyThatMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hub := newPark("a", "b", "c"), membus.NewHub()
		time.Sleep(time.Hour)
		p.replace("c") // its epoch is later than those of the others
		open := func(epoch uint64, names ...string) (*nearcache.Node, *nearcache.Cache[string]) {
			n := node(t, p.open(t, epoch, names...), hub)
			c, err := nearcache.New(n, "users", nearcache.Options[string]{})
			require.NoError(t, err)
			return n, c
		}
		old, before := open(1, "a", "b", "-c")
		time.Sleep(5 * time.Second)
		_, after := open(2, "a", "b", "c")
		for range 100 {
			for _, key := range keys(20) {
				_ = after.Set(t.Context(), key, "v")
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		assert.True(t, old.Health().Trusted, "%v", old.Health())
		for _, key := range keys(20) {
			assert.NoError(t, before.Set(t.Context(), key, "w"))
		}
	})
}

// atOnce has ended: what is closed with it waits for nothing.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
