package integration_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// clockFleet is nodes over stores of one fleet.
type clockFleet struct {
	t     *testing.T
	hub   *membus.Hub
	store func() driver.Store
}

func (f *clockFleet) join() *nearcache.Cache[string] {
	tier, err := shared.New(f.store(), shared.Options{})
	require.NoError(f.t, err)
	b, err := bus.New(f.hub.Join(), bus.Options{})
	require.NoError(f.t, err)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = node.Close(ended); assert.NoError(f.t, b.Close()) })
	c, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(f.t, err)
	require.Eventually(f.t, func() bool { return node.Health().Trusted && !node.Health().BusCut }, 20*time.Second, time.Millisecond)
	return c
}

// ends requires that what end does on one node ends a value on all of them.
func (f *clockFleet) ends(all []*nearcache.Cache[string], what string, end func() error) {
	t := f.t
	t.Helper()
	for _, writer := range all {
		entry := nearcache.Entry[string]{Value: "old", Tags: []string{"tag"}}
		require.NoError(t, writer.SetEntry(t.Context(), "k", entry), what)
		for _, reader := range all {
			require.Eventually(t, func() bool {
				// A node whose news of the last end is late writes what counts as ended: that is loaded.
				v, err := reader.FetchEntry(t.Context(), "k", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
					return nearcache.Loaded[string]{Value: "loaded", Tags: entry.Tags}, nil
				})
				return err == nil && v != ""
			}, 20*time.Second, time.Millisecond, what)
		}
		require.NoError(t, end(), what)
		for i, reader := range all {
			require.Eventually(t, func() bool {
				v, err := reader.Get(t.Context(), "k")
				return err != nil && v == ""
			}, 20*time.Second, time.Millisecond, "%s: node %d still has what was ended", what, i)
		}
	}
}

// goesOn has each node end values, one after the other, and a node that has just started.
func (f *clockFleet) goesOn(all []*nearcache.Cache[string], when string) []*nearcache.Cache[string] {
	all = append(all, f.join())
	for _, c := range all {
		f.ends(all, "Clear "+when, func() error { return c.Clear(f.t.Context()) })
		f.ends(all, "InvalidateTags "+when, func() error { return c.InvalidateTags(f.t.Context(), "tag") })
	}
	return all
}

// TestWrongClock_Redis: the clock of a server was a day and an hour ahead for a while, and
// years. What was cleared by then, and what is cleared from then on, is gone.
func TestWrongClock_Redis(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"25 hours": 25 * time.Hour, "80 years": 80 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := servers.StartRedisAt(t.Context(), time.Second)
			require.NoError(t, err)
			t.Cleanup(server.Stop)
			f := &clockFleet{t: t, hub: membus.NewHub(), store: func() driver.Store {
				store, err := redisstore.New(newRedis(t, server.Addr), redisstore.Options{})
				require.NoError(t, err)
				return store
			}}
			all := f.goesOn(nil, "before")
			require.NoError(t, server.SetClock(ahead))
			require.NoError(t, all[0].Clear(t.Context()))
			require.NoError(t, all[0].InvalidateTags(t.Context(), "tag"))
			require.NoError(t, server.SetClock(0))
			all = f.goesOn(all, "after")
			require.NoError(t, server.Restart(t.Context()))
			f.goesOn(all, "after a restart")
		})
	}
}

// TestWrongClock_Memcached: one application server had a clock that was a day and an hour
// ahead. It is not there any more; what it raised is.
func TestWrongClock_Memcached(t *testing.T) {
	t.Parallel()
	server := servers.Memcached(t)
	client := memcache.New(server.Addr)
	f := &clockFleet{t: t, hub: membus.NewHub(), store: func() driver.Store {
		store, err := memcachestore.New(memcache.New(server.Addr), memcachestore.Options{})
		require.NoError(t, err)
		return store
	}}
	all := f.goesOn(nil, "before")
	for _, key := range []string{"nearbus:users!clock", "nearbus:users!tags"} {
		item, err := client.Get(key)
		require.NoError(t, err)
		header, err := driver.DecodeHeader(item.Value)
		require.NoError(t, err)
		ahead := header.Revision
		ahead.Number = uint64(time.Now().Add(25 * time.Hour).UnixMicro())
		driver.StampRevision(item.Value, ahead)
		require.Equal(t, ahead.Number, binary.BigEndian.Uint64(item.Value[16:]))
		require.NoError(t, client.Set(item))
	}
	f.goesOn(all, "after")
}
