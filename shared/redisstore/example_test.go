package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared"
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
	if errors.Is(err, shared.ErrNotFound) {
		fmt.Println("nobody")
		return
	}
	fmt.Printf("%s %v\n", name, err)
}
