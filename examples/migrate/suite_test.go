package migrate_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/migrate/nearbus"
	"github.com/nearbus/nearbus/examples/migrate/users"
	"github.com/nearbus/nearbus/integration/servers"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

var (
	ada  = users.User{ID: "ada", Name: "Ada"}
	bob  = users.User{ID: "bob", Name: "Bob"}
	ada2 = users.User{ID: "ada", Name: "Ada Lovelace"}
	bob2 = users.User{ID: "bob", Name: "Robert"}
)

// fleet is two servers with one Redis. Server b reaches Redis by a relay.
type fleet struct {
	start start
	db    *users.DB
	redis *servers.Process
	relay *servers.Relay
	a, b  users.Cache
}

func newFleet(t *testing.T, s start) *fleet {
	t.Helper()
	f := &fleet{start: s, db: users.NewDB(ada, bob), redis: servers.Redis(t)}
	f.relay = servers.RelayTo(t, f.redis.Addr)
	f.a = s.server(t, f.redis.Addr, f.db)
	f.b = s.server(t, f.relay.Addr, f.db)
	return f
}

// change changes a user in the database, and tells the cache of a server.
func (f *fleet) change(t *testing.T, on users.Cache, u users.User) {
	t.Helper()
	require.NoError(t, f.db.Save(t.Context(), u))
	require.NoError(t, on.Changed(t.Context(), u))
}

// heard returns once server b has heard of a change of server a, and so of those before.
func (f *fleet) heard(t *testing.T) {
	t.Helper()
	if f.start.untold {
		return
	}
	f.warm(t, f.b, bob)
	f.change(t, f.a, bob2)
	becomes(t, f.b, bob2)
}

// stored returns once Redis has a value of this name.
func (f *fleet) stored(t *testing.T, name string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	defer client.Close()
	require.Eventually(t, func() bool {
		n, err := client.Exists(t.Context(), name).Result()
		return err == nil && n == 1
	}, patience, time.Millisecond)
}

func read(t *testing.T, c users.Cache, id string) users.User {
	t.Helper()
	u, err := c.User(t.Context(), id)
	require.NoError(t, err)
	return u
}

// warm reads a user until a server has the user in its cache.
func (f *fleet) warm(t *testing.T, c users.Cache, want users.User) {
	t.Helper()
	require.Eventually(t, func() bool {
		before := f.db.Queries(want.ID)
		return want == read(t, c, want.ID) && f.db.Queries(want.ID) == before
	}, patience, time.Millisecond)
	if f.start.lingers { // or the fill may come after a change, and undo it
		f.stored(t, want.ID)
	}
}

// becomes waits until a server answers with a user.
func becomes(t *testing.T, c users.Cache, want users.User) {
	t.Helper()
	require.Eventually(t, func() bool {
		u, err := c.User(t.Context(), want.ID)
		return err == nil && u == want
	}, patience, time.Millisecond, "%+v", want)
}

// TestCaches runs one suite over all caches, before a move and after.
func TestCaches(t *testing.T) {
	for _, s := range append(starts(), end()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for name, behaves := range map[string]func(*testing.T, *fleet){
				"reads through": readsThrough, "own change": ownChange, "change elsewhere": changeElsewhere,
				"overtaken load": overtakenLoad, "cut off": cutOff, "two servers miss": twoServersMiss,
			} {
				t.Run(name, func(t *testing.T) { behaves(t, newFleet(t, s)) })
			}
		})
	}
}

// readsThrough: a user is read from the database once, and a user who is not there is not.
func readsThrough(t *testing.T, f *fleet) {
	f.warm(t, f.a, ada)
	if !f.start.loops { // or the absence of the user was remembered near, until Redis told of the fill
		assert.Equal(t, 1, f.db.Queries(ada.ID))
	}
	_, err := f.a.User(t.Context(), "nobody")
	assert.ErrorIs(t, err, users.ErrNone)
}

// ownChange: a server answers with its own change.
func ownChange(t *testing.T, f *fleet) {
	f.warm(t, f.a, ada)
	f.change(t, f.a, ada2)
	if f.start.loops {
		becomes(t, f.a, ada2)
		return
	}
	assert.Equal(t, ada2, read(t, f.a, ada.ID))
}

// changeElsewhere: a server answers with the change of another one, if anybody tells it.
func changeElsewhere(t *testing.T, f *fleet) {
	f.warm(t, f.b, ada)
	f.change(t, f.a, ada2)
	require.Equal(t, ada2, read(t, f.a, ada.ID))
	if f.start.untold {
		assert.Equal(t, ada, read(t, f.b, ada.ID), "nobody tells it")
		return
	}
	becomes(t, f.b, ada2)
}

// overtakenLoad: server b has read the old row when server a changes it, and puts it into its
// cache after that.
func overtakenLoad(t *testing.T, f *fleet) {
	load := f.db.Hold(ada.ID)
	loaded := make(chan error, 1)
	go func() { // ends with Release
		_, err := f.b.User(context.WithoutCancel(t.Context()), ada.ID)
		loaded <- err
	}()
	<-load.Begun()
	f.change(t, f.a, ada2)
	f.heard(t)
	load.Release()
	require.NoError(t, <-loaded)

	if f.start.lingers {
		f.stored(t, ada.ID)
	}

	third := f.start.server(t, f.redis.Addr, f.db)
	assert.Equal(t, after(f.start.spreads), read(t, third, ada.ID), "a server that comes later")
	if !f.start.loops { // or it loads again, until Redis told of its own fill
		assert.Equal(t, after(f.start.refills), read(t, f.b, ada.ID), "the server that loaded")
	}
}

// after returns the user before the change where it is said to be old, else after.
func after(old bool) users.User {
	if old {
		return ada
	}
	return ada2
}

// cutOff: server a changes a user while server b cannot be reached.
func cutOff(t *testing.T, f *fleet) {
	if f.start.untold {
		return // it hears nothing in any case: changeElsewhere
	}
	f.warm(t, f.b, ada)
	f.warm(t, f.b, bob)
	f.relay.Refuse()
	f.change(t, f.a, ada2)
	require.NoError(t, f.relay.Resume())
	if !f.start.misses {
		becomes(t, f.b, ada2)
		return
	}
	require.Eventually(t, func() bool { // until server b listens again
		f.change(t, f.a, bob2)
		return read(t, f.b, bob.ID) == bob2
	}, patience, 10*time.Millisecond)
	assert.Equal(t, ada, read(t, f.b, ada.ID), "nobody tells it again")
}

// twoServersMiss: both servers need a user that neither has.
func twoServersMiss(t *testing.T, f *fleet) {
	load := f.db.Hold(ada.ID)
	loaded := make(chan error, 2)
	for _, c := range []users.Cache{f.a, f.b} {
		go func() { // ends with Release
			_, err := c.User(context.WithoutCancel(t.Context()), ada.ID)
			loaded <- err
		}()
	}
	<-load.Begun()
	if f.start.overload {
		require.Eventually(t, func() bool { return f.db.Queries(ada.ID) == 2 }, patience, time.Millisecond)
	} else {
		require.Eventually(t, func() bool { return missed(f.a) && missed(f.b) }, patience, time.Millisecond)
	}
	load.Release()
	require.NoError(t, <-loaded)
	require.NoError(t, <-loaded)
	if !f.start.overload {
		assert.Equal(t, 1, f.db.Queries(ada.ID))
	}
}

// missed reports whether a read of a server with nearbus has found nothing near.
func missed(c users.Cache) bool {
	return c.(*nearbus.Users).Node().Caches()[0].Stats.Reads.Misses > 0
}

// TestHalfOpen: the connections of server b stay open, and say nothing any more. A server with
// nearbus goes on from the database. Others have no reason to doubt what they have; rueidis
// finds out after its ConnWriteTimeout, and then tries again until the context ends.
func TestHalfOpen(t *testing.T) {
	for _, s := range starts() {
		if s.untold {
			continue // it hears nothing in any case: changeElsewhere
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			before, after := newFleet(t, s), newFleet(t, end())
			for _, f := range []*fleet{before, after} {
				read(t, f.a, ada.ID)
				f.warm(t, f.b, ada)
				f.relay.Stall()
				f.change(t, f.a, ada2)
			}
			becomes(t, after.b, ada2)
			if s.deaf {
				assert.Equal(t, ada, read(t, before.b, ada.ID))
			} else {
				require.Eventually(t, func() bool { return fails(t, before.b, ada.ID) }, patience, time.Millisecond)
			}
			for _, f := range []*fleet{before, after} {
				require.NoError(t, f.relay.Resume())
				becomes(t, f.b, ada2)
			}
		})
	}
}

// fails reports whether a read has an error. Until then it answers with Ada of old.
func fails(t *testing.T, c users.Cache, id string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	u, err := c.User(ctx, id)
	if err == nil {
		require.Equal(t, ada, u)
	}
	return err != nil
}
