package shardstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/shardstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// inMemory returns n shards named a, b, c and so on.
func inMemory(n int) []shardstore.Shard {
	shards := make([]shardstore.Shard, n)
	for i := range shards {
		shards[i] = shardstore.Shard{Name: string(rune('a' + i)), Store: memstore.New(memstore.Options{})}
	}
	return shards
}

func newStore(t *testing.T, shards []shardstore.Shard, opts shardstore.Options) *shardstore.Store {
	t.Helper()
	store, err := shardstore.New(shards, opts)
	require.NoError(t, err)
	return store
}

func harness(n int) storetest.Harness {
	stores := map[*shardstore.Store][]shardstore.Shard{}
	return storetest.Harness{
		New: func() (driver.Store, error) {
			shards := inMemory(n)
			store, err := shardstore.New(shards, shardstore.Options{})
			if err != nil {
				return nil, err
			}
			stores[store] = shards
			return store, store.Open(context.Background())
		},
		Plant: func(ctx context.Context, store driver.Store, key string, data []byte) error {
			s := store.(*shardstore.Store)
			home, name, err := s.Locate(ctx, key)
			for _, sh := range stores[s] {
				if sh.Name == home {
					sh.Store.(*memstore.Store).Plant(name, data)
				}
			}
			return err
		},
	}
}

func TestStore_Conformance(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " shards"), func(t *testing.T) { storetest.Run(t, harness(n), true) })
	}
}
