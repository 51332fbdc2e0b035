package shardstore_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// A cache over three servers instead of one: the store is another one, and no
// other line changes.
func Example() {
	store, err := shardstore.New([]shardstore.Shard{
		{Name: "a", Store: memstore.New(memstore.Options{})}, // redisstore.New(...) in production
		{Name: "b", Store: memstore.New(memstore.Options{})},
		{Name: "c", Store: memstore.New(memstore.Options{})},
	}, shardstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := store.Open(ctx); err != nil {
		log.Fatal(err)
	}
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range []string{"ann", "bob", "eve"} {
		if err := tier.Set(ctx, "user:"+user, []byte(user), 0); err != nil {
			log.Fatal(err)
		}
		value, err := tier.Get(ctx, "user:"+user)
		if err != nil {
			log.Fatal(err)
		}
		shard, _, _ := store.Locate(ctx, "user:"+user)
		fmt.Printf("%s is on shard %s\n", value, shard)
	}
	// Output:
	// ann is on shard a
	// bob is on shard a
	// eve is on shard b
}

// A shard is added in two deployments, so that no process meets a map that it
// does not know: first idle, then with keys and another number.
func Example_addAShard() {
	ctx := context.Background()
	a, b := memstore.New(memstore.Options{}), memstore.New(memstore.Options{})
	open := func(idle bool, epoch uint64) *shardstore.Store {
		store, err := shardstore.New([]shardstore.Shard{
			{Name: "a", Store: a},
			{Name: "b", Store: b, Idle: idle},
		}, shardstore.Options{Epoch: epoch})
		if err != nil {
			log.Fatal(err)
		}
		if err := store.Open(ctx); err != nil {
			log.Fatal(err)
		}
		return store
	}
	first := open(true, 1)
	shard, name, _ := first.Locate(ctx, "user:eve")
	fmt.Println(shard, name)

	open(false, 2) // another process, of the second deployment

	for _, key := range []string{"user:ann", "user:bob", "user:eve"} {
		if _, err := first.Read(ctx, []string{key}); err != nil { // finds that the map is another, and follows
			log.Fatal(err)
		}
		shard, name, _ = first.Locate(ctx, key)
		fmt.Println(shard, name)
	}
	// Output:
	// a user:eve@1
	// a user:ann@1
	// a user:bob@1
	// b user:eve@2
}
