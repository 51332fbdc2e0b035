package shardstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// noJournal is a server without a journal.
type noJournal struct{ driver.Store }

// losing is a fleet of which a shard is lost, and removed by a rolling deployment.
type losing struct {
	t       *testing.T
	p       park
	hub     *membus.Hub
	journal bool
	hangs   bool
}

// lost runs test with a fleet of the shards a, b and c: with and without journals, and with
// a server that is lost refusing connections or saying nothing.
func lost(t *testing.T, test func(t *testing.T, l *losing)) {
	t.Helper()
	for _, journal := range []bool{true, false} {
		for _, hangs := range []bool{true, false} {
			t.Run(fmt.Sprintf("journal %v hangs %v", journal, hangs), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					test(t, &losing{t: t, p: newPark("a", "b", "c", "d"), hub: membus.NewHub(), journal: journal, hangs: hangs})
				})
			})
		}
	}
}

// lose takes c away for good.
func (l *losing) lose() {
	l.p["c"].hangs.Store(l.hangs)
	l.p["c"].down.Store(!l.hangs)
}

// process is one of the fleet.
type process struct {
	*nearcache.Cache[string]
	node  *nearcache.Node
	store *shardstore.Store
}

// start starts a process with this configuration. With a minus, a shard is idle.
func (l *losing) start(opts shardstore.Options, names ...string) *process {
	l.t.Helper()
	shards := l.p.shards(names...)
	if !l.journal {
		for i := range shards {
			shards[i].Store = &noJournal{shards[i].Store}
		}
	}
	store := newStore(l.t, shards, opts)
	require.NoError(l.t, store.Open(l.t.Context()))
	n := node(l.t, store, l.hub)
	c, err := nearcache.New[string](n, "users", nearcache.Options[string]{TTL: time.Hour})
	require.NoError(l.t, err)
	return &process{c, n, store}
}

// keyOn returns a key of the cache that is on a shard.
func (p *process) keyOn(t *testing.T, shard string) string {
	t.Helper()
	for i := range 1000 {
		if key := fmt.Sprint(i); homeOf(t, p.store, "users:"+key) == shard {
			return key
		}
	}
	t.Fatal("no key is on it")
	return ""
}

func is(v string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return v, nil }
}

var errNoLoad = errors.New("nothing is to be loaded")

func noLoad(context.Context, string) (string, error) { return "", errNoLoad }

// terminate ends a process as a deployment does: it drains for 10 s and closes. What it
// said last has reached everybody then.
func (p *process) terminate(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := p.node.Close(ctx)
	synctest.Wait()
	return err
}

// TestLost_DebtsFollowTheMap: a process that owes an invalidation to a shard that is lost,
// and uses no other one, follows the map without that shard and pays there.
func TestLost_DebtsFollowTheMap(t *testing.T) {
	lost(t, func(t *testing.T, l *losing) {
		old := l.start(shardstore.Options{}, "a", "b", "c")
		key := old.keyOn(t, "c")
		require.NoError(t, old.Set(t.Context(), key, "first"))
		l.lose()
		now := l.start(shardstore.Options{Epoch: 2, Lost: []string{"c"}}, "a", "b")
		_, err := now.Fetch(t.Context(), key, is("second"))
		require.NoError(t, err)
		if err := old.Invalidate(t.Context(), key); err != nil { // the source has the third
			require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		}
		require.NoError(t, old.terminate(t), "it has delivered what it owed")
		fresh := l.start(shardstore.Options{Epoch: 2, Lost: []string{"c"}}, "a", "b")
		for _, p := range []*process{now, fresh} {
			v, err := p.Fetch(t.Context(), key, is("third"))
			require.NoError(t, err)
			assert.Equal(t, "third", v)
		}
	})
}

// TestLost_DebtsOfWhoIsGone: what a process owed to a lost shard as it ended, before the map
// without that shard began, leaves no old value: no key has the name that it had there.
func TestLost_DebtsOfWhoIsGone(t *testing.T) {
	for _, expired := range []uint64{0, 1} {
		opts := shardstore.Options{Epoch: 2, Lost: []string{"c"}, Expired: expired}
		lost(t, func(t *testing.T, l *losing) { testDebtsOfWhoIsGone(t, l, opts) })
	}
}

func testDebtsOfWhoIsGone(t *testing.T, l *losing, opts shardstore.Options) {
	old, other := l.start(shardstore.Options{}, "a", "b", "c"), l.start(shardstore.Options{}, "a", "b", "c")
	all := []string{old.keyOn(t, "a"), old.keyOn(t, "b"), old.keyOn(t, "c")}
	for _, key := range all {
		require.NoError(t, old.Set(t.Context(), key, "first"))
	}
	l.lose()
	for _, key := range all {
		_ = old.Invalidate(t.Context(), key) // the source has the second; on c it is owed
	}
	require.Error(t, old.terminate(t), "nobody takes what it owes")
	now := l.start(opts, "a", "b")
	for _, p := range []*process{now, other} {
		for _, key := range all {
			v, err := p.Fetch(t.Context(), key, is("second"))
			require.NoError(t, err)
			assert.Equal(t, "second", v)
		}
	}
}

// TestLost_WithAnUnknownShard: a process that does not know a shard of the new map can
// deliver nothing under it. What it owed as it ended is made good by a Clear, by hand.
func TestLost_WithAnUnknownShard(t *testing.T) {
	lost(t, func(t *testing.T, l *losing) {
		old := l.start(shardstore.Options{}, "a", "b", "c")
		key := old.keyOn(t, "c")
		l.lose()
		opts := shardstore.Options{Epoch: 2, Lost: []string{"c"}}
		now := l.start(opts, "a", "b", "d")
		_, err := now.Fetch(t.Context(), key, is("first"))
		require.NoError(t, err)
		require.ErrorIs(t, old.Invalidate(t.Context(), key), nearcache.ErrOutcomeUnknown)
		require.ErrorContains(t, old.terminate(t), "1 invalidations could not be delivered yet")
		fresh := l.start(opts, "a", "b", "d")
		v, err := fresh.Fetch(t.Context(), key, noLoad)
		require.NoError(t, err)
		require.Equal(t, "first", v, "the test sees what nobody delivered")

		require.NoError(t, l.hub.Join().Publish(t.Context(), []byte("clear users")))
		time.Sleep(time.Second)
		for _, p := range []*process{now, fresh, l.start(opts, "a", "b", "d")} {
			v, err := p.Fetch(t.Context(), key, is("second"))
			require.NoError(t, err)
			assert.Equal(t, "second", v)
		}
	})
}

// TestLost_AsDocumented: first the new shard is made known, as an idle one, then the lost
// one is taken away: every process can follow, and nothing that is owed is left behind.
func TestLost_AsDocumented(t *testing.T) {
	lost(t, func(t *testing.T, l *losing) {
		old := l.start(shardstore.Options{}, "a", "b", "c")
		key := old.keyOn(t, "c")
		require.NoError(t, old.Set(t.Context(), key, "first"))
		l.lose()
		known := l.start(shardstore.Options{}, "a", "b", "c", "-d") // the first deployment
		_ = old.Invalidate(t.Context(), key)
		_ = old.terminate(t) // c is down, and the map without it has not begun
		opts := shardstore.Options{Epoch: 2, Lost: []string{"c"}}
		now := l.start(opts, "a", "b", "d") // the second deployment
		_, err := now.Fetch(t.Context(), key, is("second"))
		require.NoError(t, err)
		_ = known.Invalidate(t.Context(), key)
		require.NoError(t, known.terminate(t))
		for _, p := range []*process{now, l.start(opts, "a", "b", "d")} {
			v, err := p.Fetch(t.Context(), key, is("third"))
			require.NoError(t, err)
			assert.Equal(t, "third", v)
		}
	})
}
