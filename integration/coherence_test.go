package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// backend makes what one node of a fleet stands on. The clients are the
// node's own, as in a process of its own.
type backend struct {
	store     func(t testing.TB, name string) driver.Store
	transport func(t testing.TB, name string) bus.Transport
}

// fleetOf returns a fleet whose nodes all have the same prefix and channel.
func fleetOf(t testing.TB, b backend) nearcachetest.Fleet {
	name := uniqueName()
	return nearcachetest.Fleet{
		NoLeases: b.store == nil,
		Join:     func(context.Context) (*nearcache.Node, error) { return joinFleet(t, b, name) },
	}
}

func joinFleet(t testing.TB, b backend, name string) (*nearcache.Node, error) {
	var tier *shared.Tier
	var err error
	if b.store != nil {
		if tier, err = shared.New(b.store(t, name), shared.Options{Timeout: machinePatience}); err != nil {
			return nil, err
		}
	}
	wire, err := bus.New(b.transport(t, name), bus.Options{PublishTimeout: machinePatience})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = wire.Close() })
	return nearcache.NewNode(tier, wire, patient)
}

// machinePatience is how long a call of a server that works may take, because others use the machine.
const machinePatience = 20 * time.Second

// patient are the options of nodes whose loads or round trips are counted: on a busy machine a server
// may be slow, which is no reason to load past it.
var patient = nearcache.NodeOptions{SharedPatience: time.Minute}

// oneRedis is a store and a bus on one client, which makes a Set one round
// trip.
func oneRedis() backend {
	clients := map[string]*redis.Client{}
	return backend{
		store: func(t testing.TB, name string) driver.Store {
			clients[name] = newRedis(t, sharedRedis(t).Addr)
			return redisStoreOf(t, clients[name], name)
		},
		transport: func(t testing.TB, name string) bus.Transport {
			transport, err := redisbus.New(clients[name], redisbus.Options{Channel: name})
			require.NoError(t, err)
			return transport
		},
	}
}

func redisStoreOf(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Store {
	store, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	return store
}

func onRedis(t testing.TB, name string) driver.Store {
	return redisStoreOf(t, newRedis(t, sharedRedis(t).Addr), name)
}

func newCluster(t testing.TB) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: sharedCluster(t).Addrs(), PoolSize: 50, MaxRedirects: 3, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func onCluster(t testing.TB, name string) driver.Store { return redisStoreOf(t, newCluster(t), name) }

func inMemcached(t testing.TB, name string) driver.Store {
	client := newMemcache(t, sharedMemcached(t).Addr)
	return newMemcacheStore(t, client, memcachestore.Options{Prefix: name})
}

func overRedis(t testing.TB, name string) bus.Transport {
	transport, err := redisbus.New(newRedis(t, sharedRedis(t).Addr), redisbus.Options{Channel: name})
	require.NoError(t, err)
	return transport
}

func overCluster(t testing.TB, name string) bus.Transport {
	transport, err := redisbus.New(newCluster(t), redisbus.Options{Channel: name})
	require.NoError(t, err)
	return transport
}

func overNATS(t testing.TB, name string) bus.Transport {
	conn := natsConnection(t, sharedNATS(t).URL)
	transport, err := natsbus.New(conn, natsbus.Options{Subject: name})
	require.NoError(t, err)
	return transport
}

func overJetStream(t testing.TB, name string) bus.Transport {
	conn := natsConnection(t, sharedJetStream(t).URL)
	transport, err := natsbus.NewStream(t.Context(), conn, streamOptions(name))
	require.NoError(t, err)
	return transport
}

// TestCoherence_Features runs the guarantees with everything switched on that
// must not cost one. Values are refreshed all the time.
func TestCoherence_Features(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]backend{
		"one Redis for both": oneRedis(),
		"Memcached and NATS": {inMemcached, overNATS},
	} {
		t.Run(name, func(t *testing.T) {
			fleet := fleetOf(t, b)
			fleet.Options = nearcache.Options[int64]{
				TTL: time.Minute, RefreshAhead: time.Minute - 5*time.Millisecond, TTLJitter: 0.2,
				Stale: nearcache.Stale{For: time.Hour}, NotFoundTTL: time.Second, MaxConcurrentLoads: 8,
			}
			nearcachetest.Run(t, fleet)
		})
	}
}

// TestCoherence runs the guarantees of the library over every store and bus.
func TestCoherence(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]backend{
		"one Redis for both":          oneRedis(),
		"Redis and NATS":              {onRedis, overNATS},
		"Redis and JetStream":         {onRedis, overJetStream},
		"Memcached and JetStream":     {inMemcached, overJetStream},
		"Redis and another Redis":     {onRedis, overRedis},
		"Redis Cluster for both":      {onCluster, overCluster},
		"Memcached and NATS":          {inMemcached, overNATS},
		"Memcached and Redis":         {inMemcached, overRedis},
		"NATS without a shared tier":  {nil, overNATS},
		"Redis without a shared tier": {nil, overRedis},
	} {
		t.Run(name, func(t *testing.T) { nearcachetest.Run(t, fleetOf(t, b)) })
	}
}
