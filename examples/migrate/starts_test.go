package migrate_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/migrate/gocache"
	"github.com/nearbus/nearbus/examples/migrate/goredis"
	"github.com/nearbus/nearbus/examples/migrate/gorediscache"
	"github.com/nearbus/nearbus/examples/migrate/lru"
	"github.com/nearbus/nearbus/examples/migrate/nearbus"
	"github.com/nearbus/nearbus/examples/migrate/ristretto"
	"github.com/nearbus/nearbus/examples/migrate/rueidis"
	"github.com/nearbus/nearbus/examples/migrate/users"
)

// open connects a server to the Redis at an address.
type open func(ctx context.Context, addr string, db *users.DB) (users.Cache, error)

// start is a cache that servers move from, or the one that they move to, and what its servers
// do with old values.
type start struct {
	name string
	open open

	untold   bool // no server hears of a change of another one
	loops    bool // a server hears of its own change and of its own fill from Redis, a moment later
	lingers  bool // what a server loaded is stored after the read returned, whatever happens between
	refills  bool // a load that a change overtook leaves the old value near
	spreads  bool // and in Redis, for every server
	misses   bool // a change while a server is cut off never reaches it
	deaf     bool // a change while a connection says nothing does not reach it for as long
	overload bool // each server that misses a user loads the user
}

// starts are the caches to move from.
func starts() []start {
	return []start{
		{name: "gorediscache", open: opened(gorediscache.Open), untold: true, refills: true, spreads: true, overload: true},
		{name: "goredis", open: opened(goredis.Open), loops: true, refills: true, spreads: true, deaf: true, overload: true},
		{name: "rueidis", open: opened(rueidis.Open), loops: true, refills: true, spreads: true, overload: true},
		{name: "gocache", open: opened(gocache.Open), untold: true, lingers: true, refills: true, spreads: true, overload: true},
		{name: "ristretto", open: opened(ristretto.Open), refills: true, misses: true, deaf: true, overload: true},
		{name: "lru", open: opened(lru.Open), untold: true, refills: true, overload: true},
	}
}

// end is where moves end.
func end() start { return start{name: "nearbus", open: opened(nearbus.Open)} }

// opened has a function that opens a cache of one type open any cache.
func opened[C users.Cache](f func(context.Context, string, *users.DB) (C, error)) open {
	return func(ctx context.Context, addr string, db *users.DB) (users.Cache, error) { return f(ctx, addr, db) }
}

// server opens a server for the test.
func (s start) server(t *testing.T, addr string, db *users.DB) users.Cache {
	t.Helper()
	c, err := s.open(t.Context(), addr, db)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
