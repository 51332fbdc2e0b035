package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestOpen_TwoServers: servers that were opened in one call each hear each other, with Redis
// pub/sub as well as with NATS, and another namespace hears nothing.
func TestOpen_TwoServers(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	conn, err := nats.Connect(servers.NATS(t).URL, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	overNATS := func(namespace string) (bus.Transport, error) {
		return natsbus.New(conn, natsbus.Options{Namespace: namespace})
	}
	for name, transport := range map[string]func(string) (bus.Transport, error){"redis": nil, "nats": overNATS} {
		t.Run(name, func(t *testing.T) {
			open := func(namespace string) *nearcache.Cache[string] {
				client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: server.Addr}))
				t.Cleanup(func() { _ = client.Close() })
				node, err := nearredis.Open(t.Context(), client, nearredis.Options{
					Namespace: namespace, Transport: transport, OpenOptions: nearcache.OpenOptions{WaitReady: 30 * time.Second},
				})
				require.NoError(t, err)
				t.Cleanup(func() { assert.NoError(t, node.Close(context.Background())) })
				assert.True(t, node.Health().Trusted)
				users, err := nearcache.New(node, "users", nearcache.Options[string]{})
				require.NoError(t, err)
				return users
			}
			here, there, elsewhere := open(name), open(name), open(name+"-other")
			require.NoError(t, here.Set(t.Context(), "42", "Ada"))
			v, err := there.Get(t.Context(), "42")
			require.NoError(t, err)
			assert.Equal(t, "Ada", v)
			require.NoError(t, here.Set(t.Context(), "42", "Grace"))
			require.Eventually(t, func() bool {
				v, err := there.Get(t.Context(), "42")
				return err == nil && v == "Grace"
			}, 30*time.Second, time.Millisecond)
			_, err = elsewhere.Get(t.Context(), "42")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	}
}

// TestOpen_WrongOptions name what is to be changed.
func TestOpen_WrongOptions(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: "127.0.0.1:1"}))
	defer client.Close()
	_, err := nearredis.Open(t.Context(), client, nearredis.Options{Store: redisstore.Options{Namespace: "shop"}})
	require.ErrorContains(t, err, "set Options.Namespace")
	_, err = nearredis.Open(t.Context(), client, nearredis.Options{Namespace: "no spaces"})
	require.ErrorContains(t, err, "amespace")
	_, err = nearredis.Open(t.Context(), redis.NewClient(&redis.Options{}), nearredis.Options{})
	require.ErrorContains(t, err, "ContextTimeoutEnabled")
	_, err = nearredis.Open(t.Context(), nil, nearredis.Options{})
	require.Error(t, err)
}
