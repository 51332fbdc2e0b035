package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

func Example() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "localhost:6379",
		PoolSize:              50,
		MaxRetries:            -1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
	})
	defer client.Close()

	store, err := redisstore.New(client, redisstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := tier.Set(ctx, "user:42", []byte("Ada"), 5*time.Minute); err != nil {
		log.Fatal(err)
	}
	name, err := tier.Get(ctx, "user:42")
	if errors.Is(err, driver.ErrNotFound) {
		fmt.Println("nobody")
		return
	}
	fmt.Printf("%s %v\n", name, err)
}

// Staging and production on one Redis, each with a namespace of its own.
func ExampleOptions_namespace() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	for _, namespace := range []string{"shop-staging", "shop: production"} {
		_, err := redisstore.New(client, redisstore.Options{Namespace: namespace})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// redisstore: Options.Namespace: namespace "shop: production": want 1 to 64 of A-Z a-z 0-9 _ - and no punctuation in front
}
