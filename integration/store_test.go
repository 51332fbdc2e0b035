package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

func TestStore_Redis(t *testing.T) {
	storetest.Run(t, redisHarness(newRedis(t, sharedRedis(t).Addr)), false)
}

func TestStore_RedisCluster(t *testing.T) {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: sharedCluster(t).Addrs(), PoolSize: 50, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = client.Close() })
	storetest.Run(t, redisHarness(client), false)
}

func TestStore_RedisRing(t *testing.T) {
	client := redis.NewRing(&redis.RingOptions{
		Addrs:    map[string]string{"one": sharedRedis(t).Addr, "two": servers.Redis(t).Addr},
		PoolSize: 50, MaxRetries: -1, ContextTimeoutEnabled: true,
		HeartbeatFn: redisstore.AlwaysUp,
	})
	t.Cleanup(func() { _ = client.Close() })
	storetest.Run(t, redisHarness(client), false)
}

func TestStore_Memcached(t *testing.T) {
	client := newMemcache(t, sharedMemcached(t).Addr)
	storetest.Run(t, storetest.Harness{
		New: func() (driver.Store, error) {
			prefix := uniqueName()
			store, err := memcachestore.New(client, memcachestore.Options{Prefix: prefix})
			return plantable{store, func(_ context.Context, key string, data []byte) error {
				return client.Set(&memcache.Item{Key: prefix + ":" + key, Value: data})
			}}, err
		},
		Plant:       plant,
		NoRevisions: true,
		NoJournal:   true,
	}, false)
}

// plantable is a store together with a way to put anything under its keys.
type plantable struct {
	driver.Store
	plant func(ctx context.Context, key string, data []byte) error
}

func (p plantable) planted(ctx context.Context, key string, data []byte) error {
	return p.plant(ctx, key, data)
}

// journaled is a plantable store that keeps a journal.
type journaled struct {
	plantable
	*redisstore.Store
}

func plant(ctx context.Context, store driver.Store, key string, data []byte) error {
	return store.(interface {
		planted(ctx context.Context, key string, data []byte) error
	}).planted(ctx, key, data)
}

// redisHarness makes stores over client, each with a prefix of its own.
func redisHarness(client redis.UniversalClient) storetest.Harness {
	return storetest.Harness{
		New: func() (driver.Store, error) {
			prefix := uniqueName()
			store, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
			return journaled{plantable{store, func(ctx context.Context, key string, data []byte) error {
				if err := putRecord(ctx, store, key, value(driver.NewNonce(), "v")); err != nil {
					return err
				}
				return replaceInRedis(ctx, client, prefix, key, data)
			}}, store}, err
		},
		Plant: plant,
	}
}

// replaceInRedis replaces what a store with this prefix has under key. The key
// is in one of 16 partitions, and where it is not, nothing is replaced.
func replaceInRedis(ctx context.Context, client redis.UniversalClient, prefix, key string, data []byte) error {
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for p := range 16 {
			pipe.SetArgs(ctx, fmt.Sprintf("%s:{%d}:%s", prefix, p, key), data, redis.SetArgs{Mode: "XX"})
		}
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
