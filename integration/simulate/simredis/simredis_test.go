package simredis_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/simulate/simredis"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// newClient returns a client of a server, with the options that the drivers ask for.
func newClient(t testing.TB, server *simredis.Server, change ...func(*redis.Options)) *redis.Client {
	options := &redis.Options{
		Addr:       "192.0.2.1:6379", // the client looks names up, which no bubble can
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			client, far := net.Pipe()
			go server.Serve(far) // ends with the client
			return client, nil
		},
	}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newServer(t testing.TB, options simredis.Options) *simredis.Server {
	server := simredis.New(options)
	t.Cleanup(server.Close)
	return server
}

func TestServer_AnswersTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, simredis.Options{})
		for _, protocol := range []int{2, 3} {
			client := newClient(t, server, func(o *redis.Options) { o.Protocol = protocol })
			ctx := t.Context()
			require.NoError(t, client.Set(ctx, "a", "1", time.Second).Err())
			assert.Equal(t, "1", client.Get(ctx, "a").Val())
			assert.Equal(t, []any{"1", nil}, client.MGet(ctx, "a", "b").Val())
			assert.Equal(t, int64(3), client.Eval(ctx, "return redis.call('GET', KEYS[1]) + ARGV[1]", []string{"a"}, 2).Val())
			now, err := client.Time(ctx).Result()
			require.NoError(t, err)
			assert.True(t, now.Equal(time.Now()))
			time.Sleep(time.Second)
			assert.Equal(t, "1", client.Get(ctx, "a").Val(), "the millisecond of the end is before it")
			time.Sleep(time.Millisecond)
			assert.ErrorIs(t, client.Get(ctx, "a").Err(), redis.Nil)
		}
		assert.Empty(t, server.Unknown())
	})
}

func TestServer_CarriesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, simredis.Options{})
		client := newClient(t, server)
		stores := 0
		err := storetest.Check(t.Context(), storetest.Harness{
			New: func() (driver.Store, error) {
				stores++
				return redisstore.New(client, redisstore.Options{Prefix: fmt.Sprint("store", stores)})
			},
			Plant: func(ctx context.Context, _ driver.Store, key string, data []byte) error {
				return client.Set(ctx, fmt.Sprintf("store%d:{0}:%s", stores, key), data, 0).Err()
			},
		})
		assert.NoError(t, err)
		assert.Empty(t, server.Unknown())
	})
}

func TestServer_CarriesTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, simredis.Options{})
		client := newClient(t, server)
		err := bustest.Check(t.Context(), bustest.Harness{
			Join: func(channel string) (bus.Transport, error) {
				return redisbus.New(client, redisbus.Options{Channel: channel})
			},
			Break: func(context.Context, string) error {
				server.KillClients(simredis.Subscribers)
				return nil
			},
		})
		assert.NoError(t, err)
		assert.Empty(t, server.Unknown())
	})
}
