package redisbus_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
)

// nobody is a client of a server that does not exist. It is never connected.
func nobody(t *testing.T) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

func TestNew_RefusesNil(t *testing.T) {
	var typed *redis.Client
	for _, client := range []redis.UniversalClient{nil, typed, (*redis.ClusterClient)(nil)} {
		_, err := redisbus.New(client, redisbus.Options{})
		assert.EqualError(t, err, "redisbus: New: the client is nil")
	}
}

func TestNew_RefusesRing(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": "127.0.0.1:1"}})
	defer ring.Close()
	_, err := redisbus.New(ring, redisbus.Options{})
	assert.ErrorContains(t, err, "Ring")
}

// TestNew_RefusesOtherClients: what other types do is not known. Calls of an
// AutoPipeliner outlast their context.
func TestNew_RefusesOtherClients(t *testing.T) {
	pipeliner, err := nobody(t).AutoPipeline()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pipeliner.Close() })
	for name, client := range map[string]redis.UniversalClient{
		"*redis.AutoPipeliner": pipeliner,
		"redisbus_test.loaned": loaned{nobody(t)},
	} {
		_, err := redisbus.New(client, redisbus.Options{})
		assert.EqualError(t, err, "redisbus: New: the client is a "+name+": want a *redis.Client or *redis.ClusterClient")
	}
}

// loaned is a client of a type of somebody's own.
type loaned struct{ redis.UniversalClient }

func TestNew_RefusesReplicas(t *testing.T) {
	for _, opts := range []redis.ClusterOptions{{ReadOnly: true}, {RouteByLatency: true}, {RouteRandomly: true}} {
		opts.Addrs = []string{"127.0.0.1:1"}
		client := redis.NewClusterClient(&opts)
		_, err := redisbus.New(client, redisbus.Options{})
		require.ErrorContains(t, err, "redisbus: New: the client subscribes at replicas")
		require.NoError(t, client.Close())
	}
}

func TestNew_Channel(t *testing.T) {
	transport, err := redisbus.New(nobody(t), redisbus.Options{})
	require.NoError(t, err)
	assert.Equal(t, "nearbus", transport.Channel())
	transport, err = redisbus.New(nobody(t), redisbus.Options{Channel: "mine"})
	require.NoError(t, err)
	assert.Equal(t, "mine", transport.Channel())
	transport, err = redisbus.New(nobody(t), redisbus.Options{Namespace: "shop"})
	require.NoError(t, err)
	assert.Equal(t, "nearbus-shop", transport.Channel())
	_, err = redisbus.New(nobody(t), redisbus.Options{Namespace: "a b"})
	require.ErrorContains(t, err, `redisbus: Options.Namespace: namespace "a b": want 1 to 64 of`)
	_, err = redisbus.New(nobody(t), redisbus.Options{Namespace: "a", Channel: "b"})
	require.EqualError(t, err, `redisbus: Options.Namespace "a" and Options.Channel "b" exclude each other`)
}

func TestEndpoint(t *testing.T) {
	client := nobody(t)
	transport, err := redisbus.New(client, redisbus.Options{})
	require.NoError(t, err)
	assert.Same(t, client, transport.Endpoint())

	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	transport, err = redisbus.New(cluster, redisbus.Options{})
	require.NoError(t, err)
	assert.Nil(t, transport.Endpoint())
}

func TestTransport_WithoutServer(t *testing.T) {
	transport, err := redisbus.New(nobody(t), redisbus.Options{})
	require.NoError(t, err)
	assert.ErrorContains(t, transport.Publish(t.Context(), []byte("x")), "redisbus: publish: ")
	assert.ErrorContains(t, transport.Receive(t.Context(), bus.Sink{}), "redisbus: subscribe: ")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, transport.Publish(ctx, []byte("x")), context.Canceled)
	assert.ErrorIs(t, transport.Receive(ctx, bus.Sink{}), context.Canceled)
}
