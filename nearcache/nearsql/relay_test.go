package nearsql_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// fakeCache is a cache that calls a function.
type fakeCache func(ctx context.Context, names []string) error

func (f fakeCache) Invalidate(ctx context.Context, keys ...string) error     { return f(ctx, keys) }
func (f fakeCache) InvalidateTags(ctx context.Context, tags ...string) error { return f(ctx, tags) }
func (f fakeCache) Clear(ctx context.Context) error                          { return f(ctx, nil) }

func willing(context.Context, []string) error { return nil }

// start runs a relay in a bubble; stop ends it and returns what Run returned.
func start(t *testing.T, caches map[string]nearsql.Cache, opts nearsql.RelayOptions) (f *fakeDB, r *nearsql.Relay, stop func() error) {
	t.Helper()
	db, f := openFake()
	t.Cleanup(func() { _ = db.Close() })
	r, err := nearsql.NewRelay(db, nearsql.SQLite, caches, opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return f, r, func() error { cancel(); return <-ended }
}

// pass lets time pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestNewRelay_Refuses(t *testing.T) {
	db, _ := openFake()
	defer db.Close()
	good := map[string]nearsql.Cache{"users": fakeCache(willing)}
	_, err := nearsql.NewRelay(nil, nearsql.SQLite, good, nearsql.RelayOptions{})
	assert.EqualError(t, err, "nearsql: the database is nil")
	for want, make := range map[string]func() (*nearsql.Relay, error){
		"nearsql: Dialect(9) is none of PostgreSQL, MySQL and SQLite": func() (*nearsql.Relay, error) {
			return nearsql.NewRelay(db, 9, good, nearsql.RelayOptions{})
		},
		"nearsql: a relay needs a cache": func() (*nearsql.Relay, error) {
			return nearsql.NewRelay(db, nearsql.MySQL, nil, nearsql.RelayOptions{})
		},
		`nearsql: "it's" cannot be the name of a cache`: func() (*nearsql.Relay, error) {
			return nearsql.NewRelay(db, nearsql.MySQL, map[string]nearsql.Cache{"it's": fakeCache(willing)}, nearsql.RelayOptions{})
		},
		`nearsql: the cache "users" is nil`: func() (*nearsql.Relay, error) {
			return nearsql.NewRelay(db, nearsql.MySQL, map[string]nearsql.Cache{"users": nil}, nearsql.RelayOptions{})
		},
		"nearsql: RelayOptions.PollInterval is 1µs: want 1ms at least": func() (*nearsql.Relay, error) {
			return nearsql.NewRelay(db, nearsql.MySQL, good, nearsql.RelayOptions{PollInterval: time.Microsecond})
		},
		"nearsql: RelayOptions.ClaimFor is -1s: want 1s at least": func() (*nearsql.Relay, error) {
			return nearsql.NewRelay(db, nearsql.MySQL, good, nearsql.RelayOptions{ClaimFor: -time.Second})
		},
	} {
		_, err := make()
		assert.EqualError(t, err, want)
	}
}

// The pauses grow to five seconds, the log has two lines, and nothing is lost.
func TestRelay_DatabaseIsAwayForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var heard []string
		users := fakeCache(func(_ context.Context, names []string) error { heard = append(heard, names...); return nil })
		f, r, stop := start(t, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		pass(time.Second)
		f.insert("users", "42")
		f.set(true)
		before := f.tried()
		pass(time.Hour)
		attempts := f.tried() - before
		assert.Greater(t, attempts, 600)
		assert.Less(t, attempts, 2000)
		assert.Empty(t, heard)
		assert.GreaterOrEqual(t, r.Stats().Unseen, time.Hour)
		r.Ring() // nobody's ring makes it look more often
		synctest.Wait()
		assert.LessOrEqual(t, f.tried()-before, attempts+1)

		f.set(false)
		pass(5 * time.Second)
		assert.Equal(t, []string{"42"}, heard)
		assert.Zero(t, f.left())
		assert.ErrorIs(t, stop(), context.Canceled)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 2, "%s", log.String())
		assert.Contains(t, lines[0], "level=ERROR")
		assert.Contains(t, lines[0], "connection refused")
		assert.Contains(t, lines[1], "the outbox is back")
	})
}

// A database that takes connections and does not answer holds up nobody who ends the relay for
// longer than a call may take.
func TestRelay_DatabaseHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r, stop := start(t, map[string]nearsql.Cache{"users": fakeCache(willing)}, nearsql.RelayOptions{})
		pass(time.Second)
		f.mu.Lock()
		f.hanging = true
		f.mu.Unlock()
		pass(time.Minute)
		assert.Positive(t, r.Stats().Failures)
		began := time.Now()
		require.ErrorIs(t, stop(), context.Canceled)
		assert.LessOrEqual(t, time.Since(began), 5*time.Second)
	})
}

// A cache that is closed ends the relay: it cannot deliver any more.
func TestRelay_CacheIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := fakeCache(func(context.Context, []string) error { return nearcache.ErrClosed })
		f, _, stop := start(t, map[string]nearsql.Cache{"users": closed}, nearsql.RelayOptions{})
		f.insert("users", "42")
		pass(time.Second)
		require.ErrorIs(t, stop(), nearcache.ErrClosed)
		assert.Equal(t, 1, f.left())
	})
}

// A call that hangs ends before the claim of its rows does, and is made again. The other cache
// does not wait for it.
func TestRelay_CacheHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, others := 0, 0
		users := fakeCache(func(ctx context.Context, _ []string) error { calls++; <-ctx.Done(); return ctx.Err() })
		orgs := fakeCache(func(context.Context, []string) error { others++; return nil })
		f, _, stop := start(t, map[string]nearsql.Cache{"users": users, "orgs": orgs}, nearsql.RelayOptions{})
		f.insert("users", "42")
		f.insert("orgs", "7")
		pass(5*time.Second + 200*time.Millisecond)
		assert.Equal(t, 1, others)
		assert.GreaterOrEqual(t, calls, 1)
		pass(time.Minute)
		assert.Greater(t, calls, 5)
		assert.Less(t, calls, 15)
		require.ErrorIs(t, stop(), context.Canceled)
		assert.Equal(t, 1, f.left())
	})
}

// What a cache fails with for some keys concerns those alone.
func TestRelay_SomeKeysFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		fail.Store(true)
		users := fakeCache(func(context.Context, []string) error {
			if fail.Load() {
				return nearcache.KeysError{"42": errors.New("its shard is away")}
			}
			return nil
		})
		f, r, stop := start(t, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
		f.insert("users", "42")
		f.insert("users", "43")
		pass(time.Second)
		assert.Equal(t, 1, f.left())
		fail.Store(false)
		pass(5 * time.Second)
		assert.Zero(t, f.left())
		assert.Equal(t, uint64(2), r.Stats().Delivered)
		assert.ErrorIs(t, stop(), context.Canceled)
	})
}

// A relay that has nothing to do makes one statement a look.
func TestRelay_Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, stop := start(t, map[string]nearsql.Cache{"users": fakeCache(willing)}, nearsql.RelayOptions{})
		pass(time.Minute)
		assert.InDelta(t, 600+60, f.tried(), 60, "ten looks a second, and the backlog every 5 s")
		assert.ErrorIs(t, stop(), context.Canceled)
	})
}
