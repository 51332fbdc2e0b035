package redisbus_test

import (
	"context"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
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
	transport, err := redisbus.New(client, redisbus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(transport, bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	user := bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"}
	if err := b.Publish(context.Background(), user); err != nil {
		log.Print(err)
	}
}
