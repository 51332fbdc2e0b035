package outbox_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// TestOutbox_KilledAtEveryStep kills the process of a relay before and after each statement
// and each call of a cache. Another relay delivers the rest, and a third server, which had the
// old values near, gives the new ones.
func TestOutbox_KilledAtEveryStep(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		db.exec(t, "CREATE TABLE version (number BIGINT)")
		db.exec(t, "INSERT INTO version VALUES (0)")
		addr := servers.Redis(t).Addr
		reader, rescuer := newServer(t, addr), newServer(t, addr)
		loads := func(ctx context.Context, _ string, _ *int64) (nearcache.Loaded[int64], error) {
			e := nearcache.Loaded[int64]{Tags: []string{"tag"}}
			return e, db.QueryRowContext(ctx, "SELECT number FROM version").Scan(&e.Value)
		}
		killed := int64(0)
		for version := int64(1); ; version++ {
			for _, cache := range reader.caches { // the old values come near
				got, err := cache.FetchEntry(t.Context(), "key", loads)
				require.NoError(t, err)
				require.Equal(t, version-1, got)
			}
			db.change(t, version)
			done := child{Dialect: db.dialect, Driver: db.driver, DSN: db.dsn, Redis: addr, DieAt: version}.run(t)
			_, stop := relay(t, db, rescuer.targets(), nearsql.RelayOptions{ClaimFor: time.Second})
			db.emptied(t)
			stop()
			for name, cache := range reader.caches {
				require.Eventually(t, func() bool {
					got, err := cache.FetchEntry(t.Context(), "key", loads)
					return err == nil && got == version
				}, patience, poll, "%s: killed at step %d", name, version)
			}
			if done {
				break
			}
			killed++
		}
		assert.GreaterOrEqual(t, killed, int64(18), "steps")
		t.Logf("killed at %d steps", killed)
	})
}

// change writes a version, and what it makes stale, in one transaction.
func (db database) change(t *testing.T, version int64) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	run := func(query string, args []any) {
		_, err := tx.ExecContext(t.Context(), query, args...)
		require.NoError(t, err)
	}
	run(fmt.Sprintf("UPDATE version SET number = %d", version), nil)
	run(nearsql.Insert(db.dialect, "keys", "key"))
	run(nearsql.InsertTags(db.dialect, "tags", "tag"))
	run(nearsql.InsertClear(db.dialect, "clears"))
	require.NoError(t, tx.Commit())
}

// server is a server of the fleet, with a cache for each kind of invalidation.
type server struct {
	caches map[string]*nearcache.Cache[int64]
}

func (s server) targets() map[string]nearsql.Cache {
	targets := make(map[string]nearsql.Cache)
	for name, cache := range s.caches {
		targets[name] = cache
	}
	return targets
}

func newServer(t *testing.T, addr string) server {
	t.Helper()
	s, closeServer, err := openServer(t.Context(), addr)
	require.NoError(t, err)
	t.Cleanup(closeServer)
	return s
}

func openServer(ctx context.Context, addr string) (server, func(), error) {
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: addr}))
	node, err := nearredis.Open(ctx, client, nearredis.Options{})
	if err != nil {
		return server{}, nil, errors.Join(err, client.Close())
	}
	s := server{caches: make(map[string]*nearcache.Cache[int64])}
	for _, name := range []string{"keys", "tags", "clears"} {
		cache, cacheErr := nearcache.New(node, name, nearcache.Options[int64]{TTL: time.Hour})
		s.caches[name], err = cache, errors.Join(err, cacheErr)
	}
	return s, func() {
		_ = node.Close(context.Background())
		_ = client.Close()
	}, err
}

// child is what the test binary does instead of tests if childEnv has it: it runs a relay,
// and kills itself at a step.
type child struct {
	Dialect            nearsql.Dialect
	Driver, DSN, Redis string
	DieAt              int64
}

const childEnv = "NEARBUS_OUTBOX_CHILD"

// run starts the child and reports whether it came to its end.
func (c child) run(t *testing.T) (done bool) {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return false
	}
	require.NoError(t, err, "%s", out)
	return true
}

// childIfAsked is the main function of a child.
func childIfAsked() bool {
	text := os.Getenv(childEnv)
	if text == "" {
		return false
	}
	var c child
	if err := errors.Join(json.Unmarshal([]byte(text), &c), c.relay(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// relay runs until all three rows are delivered.
func (c child) relay(ctx context.Context) error {
	s, closeServer, err := openServer(ctx, c.Redis)
	if err != nil {
		return err
	}
	defer closeServer()
	plain, err := sql.Open(c.Driver, c.DSN)
	if err != nil {
		return err
	}
	var steps atomic.Int64
	step := func() {
		if steps.Add(1) == c.DieAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	db := sql.OpenDB(steppedConnector{driver: plain.Driver(), dsn: c.DSN, step: step})
	var turns sync.Mutex // so that steps have an order
	targets := make(map[string]nearsql.Cache)
	for name, cache := range s.targets() {
		targets[name] = &steppedCache{Cache: cache, step: step, turns: &turns}
	}
	r, err := nearsql.NewRelay(db, c.Dialect, targets, nearsql.RelayOptions{ClaimFor: time.Second, PollInterval: time.Hour})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	go func() {
		for r.Stats().Delivered < 3 && ctx.Err() == nil {
			time.Sleep(poll)
		}
		cancel()
	}()
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// steppedCache has a step before and after each call.
type steppedCache struct {
	nearsql.Cache
	step  func()
	turns *sync.Mutex
}

func (c *steppedCache) Invalidate(ctx context.Context, keys ...string) error {
	return c.do(func() error { return c.Cache.Invalidate(ctx, keys...) })
}

func (c *steppedCache) InvalidateTags(ctx context.Context, tags ...string) error {
	return c.do(func() error { return c.Cache.InvalidateTags(ctx, tags...) })
}

func (c *steppedCache) Clear(ctx context.Context) error {
	return c.do(func() error { return c.Cache.Clear(ctx) })
}

func (c *steppedCache) do(call func() error) error {
	c.turns.Lock()
	defer c.turns.Unlock()
	c.step()
	defer c.step()
	return call()
}

// steppedConnector makes connections with a step before and after each statement, each
// beginning and each end of a transaction.
type steppedConnector struct {
	driver driver.Driver
	dsn    string
	step   func()
}

func (c steppedConnector) Driver() driver.Driver { return c.driver }

func (c steppedConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	return steppedConn{conn, c.step}, err
}

type steppedConn struct {
	driver.Conn
	step func()
}

func (c steppedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.step()
	defer c.step()
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c steppedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.step()
	defer c.step()
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c steppedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.step()
	defer c.step()
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return steppedTx{tx, c.step}, err
}

type steppedTx struct {
	driver.Tx
	step func()
}

func (tx steppedTx) Commit() error {
	tx.step()
	defer tx.step()
	return tx.Tx.Commit()
}
