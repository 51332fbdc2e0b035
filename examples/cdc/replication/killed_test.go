package replication_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/cdc/replication"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// TestReader_KilledAtEveryStep kills the process of a reader before each message that it
// sends to the database, and before and after each call of a cache: with a slot, and while it makes one.
// Another reader goes on, and a server that had the old value near gives the new one.
func TestReader_KilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, withSlot := range map[string]bool{"with a slot": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			db.exec(t, "INSERT INTO users VALUES (1, '0')")
			addr := servers.Redis(t).Addr
			reader, rescuer := newCache(t, addr), newCache(t, addr)
			require.NoError(t, db.newReader(t, usersRule(rescuer), replication.Options{}).Open(t.Context()))
			loads := func(ctx context.Context, _ string) (name string, err error) {
				source, err := pgx.ConnectConfig(ctx, db.config(t))
				if err != nil {
					return "", err
				}
				defer source.Close(ctx)
				return name, source.QueryRow(ctx, "SELECT name FROM users WHERE id = 1").Scan(&name)
			}
			killed := 0
			for step := 1; ; step++ {
				got, err := reader.Fetch(t.Context(), "1", loads) // the old value comes near
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(step-1), got)
				if withSlot {
					db.freeSlot(t)
				} else {
					db.dropSlot(t)
				}
				db.exec(t, fmt.Sprintf("UPDATE users SET name = '%d' WHERE id = 1", step))
				done := child{URL: url(db.addr, db.name), Slot: db.name, Redis: addr, DieAt: int64(step)}.run(t)
				rescue := db.newReader(t, usersRule(rescuer), replication.Options{})
				require.NoError(t, rescue.Open(t.Context()))
				stop := run(t, rescue)
				db.delivered(t)
				require.Eventually(t, func() bool {
					got, err := reader.Fetch(t.Context(), "1", loads)
					return err == nil && got == fmt.Sprint(step)
				}, patience, poll, "killed at step %d", step)
				stop()
				if done {
					break
				}
				killed++
			}
			assert.GreaterOrEqual(t, killed, 8, "steps")
			t.Logf("killed at %d steps", killed)
		})
	}
}

func newCache(t *testing.T, addr string) *nearcache.Cache[string] {
	t.Helper()
	cache, closeCache, err := openCache(t.Context(), addr)
	require.NoError(t, err)
	t.Cleanup(closeCache)
	return cache
}

func openCache(ctx context.Context, addr string) (*nearcache.Cache[string], func(), error) {
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: addr}))
	node, err := nearredis.Open(ctx, client, nearredis.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	cache, err := nearcache.New(node, "users", nearcache.Options[string]{TTL: time.Hour})
	return cache, func() {
		_ = node.Close(context.Background())
		_ = client.Close()
	}, err
}

// child is what the test binary does instead of tests if childEnv has it: it runs a reader, and
// kills itself at a step.
type child struct {
	URL, Slot, Redis string
	DieAt            int64
}

const childEnv = "NEARBUS_CDC_CHILD"

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
	if err := errors.Join(json.Unmarshal([]byte(text), &c), c.read(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// read runs until the change is confirmed.
func (c child) read(ctx context.Context) error {
	cache, closeCache, err := openCache(ctx, c.Redis)
	if err != nil {
		return err
	}
	defer closeCache()
	config, err := pgx.ParseConfig(c.URL)
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
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return steppedConn{conn, step}, err
	}
	rules := []replication.Rule{{Table: "public.users", Column: "id", Cache: steppedCache{cache, step}}}
	r, err := replication.New(config, c.Slot, "cdc", rules, replication.Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.Open(ctx); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for r.Stats().Transactions == 0 && (r.Stats().Slots == 0 || !r.Stats().Streaming) && ctx.Err() == nil {
		time.Sleep(poll)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// steppedConn has a step before each message that is sent.
type steppedConn struct {
	net.Conn
	step func()
}

func (c steppedConn) Write(p []byte) (int, error) {
	c.step()
	return c.Conn.Write(p)
}

// steppedCache has a step before and after each call.
type steppedCache struct {
	replication.Cache
	step func()
}

func (c steppedCache) Invalidate(ctx context.Context, keys ...string) error {
	c.step()
	defer c.step()
	return c.Cache.Invalidate(ctx, keys...)
}

func (c steppedCache) Clear(ctx context.Context) error {
	c.step()
	defer c.step()
	return c.Cache.Clear(ctx)
}
