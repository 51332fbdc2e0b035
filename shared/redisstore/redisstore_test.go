package redisstore_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// closing closes a client at the end of a test.
func closing[C redis.UniversalClient](t *testing.T, client C) C {
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

var errDialled = errors.New("a server was asked")

// unreachable is a client that fails when it asks a server.
func unreachable(t *testing.T) *redis.Client {
	return closing(t, redis.NewClient(&redis.Options{
		MaxRetries:            -1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		Dialer:                func(context.Context, string, string) (net.Conn, error) { return nil, errDialled },
	}))
}

func TestNew_RefusesNil(t *testing.T) {
	for _, client := range []redis.UniversalClient{nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil), (*redis.Ring)(nil)} {
		_, err := redisstore.New(client, redisstore.Options{})
		assert.EqualError(t, err, "redisstore: New: the client is nil")
	}
}

func TestNew_AsksNoServer(t *testing.T) {
	for _, client := range []redis.UniversalClient{
		unreachable(t),
		closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true})),
	} {
		_, err := redisstore.New(client, redisstore.Options{})
		require.NoError(t, err)
	}
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opts redisstore.Options
		want string // error; empty: none
	}{
		"zero value":             {redisstore.Options{}, ""},
		"most partitions":        {redisstore.Options{Partitions: 16384}, ""},
		"prefix of any kind":     {redisstore.Options{Prefix: "a b:\xff"}, ""},
		"namespace":              {redisstore.Options{Namespace: "shop-staging"}, ""},
		"odd namespace":          {redisstore.Options{Namespace: "a{b}"}, `redisstore: Options.Namespace: namespace "a{b}": want 1 to 64 of A-Z a-z 0-9 _ - and no punctuation in front`},
		"namespace and prefix":   {redisstore.Options{Namespace: "a", Prefix: "b"}, `redisstore: Options.Namespace "a" and Options.Prefix "b" exclude each other`},
		"prefix with braces":     {redisstore.Options{Prefix: "a{b}"}, `redisstore: Options.Prefix "a{b}" contains braces`},
		"partitions negative":    {redisstore.Options{Partitions: -1}, "redisstore: Options.Partitions is -1, not in 0 to 16384"},
		"partitions above slots": {redisstore.Options{Partitions: 16385}, "redisstore: Options.Partitions is 16385, not in 0 to 16384"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := redisstore.New(unreachable(t), c.opts)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}

// TestStore_NamesItsErrors: every method tells driver and operation, and keeps
// the cause.
func TestStore_NamesItsErrors(t *testing.T) {
	store, err := redisstore.New(unreachable(t), redisstore.Options{})
	require.NoError(t, err)
	r := driver.Record{Kind: driver.KindValue, Nonce: 1, Value: []byte("secret")}
	write := driver.Write{Key: "key", Image: r.Append(nil), TTL: time.Minute}
	lease := driver.Lease{Key: "key", Image: write.Image}
	errs := map[string]error{
		"write":  store.Write(t.Context(), []driver.Write{write})[0].Err,
		"writes": store.Write(t.Context(), []driver.Write{write, write})[1].Err,
		"fill":   store.Fill(t.Context(), []driver.Write{write})[0].Err,
		"fills":  store.Fill(t.Context(), []driver.Write{write, write})[1].Err,
		"lease":  store.Acquire(t.Context(), []driver.Lease{lease})[0].Err,
		"leases": store.Acquire(t.Context(), []driver.Lease{lease, lease})[1].Err,
		"read":   second(store.Read(t.Context(), []string{"key"})),
		"reads":  second(store.Read(t.Context(), []string{"key", "another"})),
		"time":   second(store.Time(t.Context())),
	}
	for name, err := range errs {
		require.ErrorIs(t, err, errDialled, name)
		assert.ErrorContains(t, err, "redisstore: ", name)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func second[T any](_ T, err error) error { return err }

// TestStore_EndedContextSendsNothing: the dialler would show in the error.
func TestStore_EndedContextSendsNothing(t *testing.T) {
	store, err := redisstore.New(unreachable(t), redisstore.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := driver.Record{Kind: driver.KindValue, Nonce: 1}
	write := driver.Write{Key: "key", Image: r.Append(nil)}
	lease := driver.Lease{Key: "key", Image: write.Image}
	for name, err := range map[string]error{
		"write":  store.Write(ctx, []driver.Write{write})[0].Err,
		"writes": store.Write(ctx, []driver.Write{write, write})[1].Err,
		"fill":   store.Fill(ctx, []driver.Write{write})[0].Err,
		"fills":  store.Fill(ctx, []driver.Write{write, write})[1].Err,
		"lease":  store.Acquire(ctx, []driver.Lease{lease})[0].Err,
		"leases": store.Acquire(ctx, []driver.Lease{lease, lease})[1].Err,
		"read":   second(store.Read(ctx, []string{"key"})),
		"reads":  second(store.Read(ctx, []string{"key", "another"})),
		"time":   second(store.Time(ctx)),
	} {
		require.ErrorIs(t, err, context.Canceled, name)
		assert.NotErrorIs(t, err, errDialled, name)
	}
}

// TestStore_Endpoint: only a client of one server publishes in the step that
// writes.
func TestStore_Endpoint(t *testing.T) {
	client := unreachable(t)
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(t, err)
	assert.Same(t, client, store.Endpoint())
	for _, client := range []redis.UniversalClient{
		closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true})),
		closing(t, redis.NewRing(&redis.RingOptions{
			ContextTimeoutEnabled: true,
			Addrs:                 map[string]string{"one": "127.0.0.1:1"},
			HeartbeatFn:           redisstore.AlwaysUp,
		})),
	} {
		store, err := redisstore.New(client, redisstore.Options{})
		require.NoError(t, err)
		assert.Nil(t, store.Endpoint())
	}
}
