package nearredis_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

type User struct{ ID, Name string }

func loadUser(context.Context, string) (User, error) { return User{}, nearcache.ErrNotFound }

func Example() {
	ctx := context.Background()
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: "localhost:6379"}))
	defer client.Close()
	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(ctx)
	users, err := nearcache.New(node, "users", nearcache.Options[User]{TTL: 5 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	_, _ = users.Fetch(ctx, "42", loadUser)
}

// What is set stays; what nearbus needs is added.
func ExampleRecommend() {
	opts := nearredis.Recommend(&redis.Options{Addr: "localhost:6379", PoolSize: 20})
	fmt.Println(opts.PoolSize, opts.MaxRetries, opts.ContextTimeoutEnabled)
	// Output: 20 -1 true
}

// A Cluster is opened as one server is.
func ExampleOpen_cluster() {
	ctx := context.Background()
	client := redis.NewClusterClient(nearredis.Recommend(&redis.ClusterOptions{
		Addrs: []string{"redis-1:6379", "redis-2:6379", "redis-3:6379"},
	}))
	defer client.Close()
	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(ctx)
}

// Values are in Redis, and messages go over NATS.
func ExampleOptions_transport() {
	ctx := context.Background()
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: "localhost:6379"}))
	defer client.Close()
	conn, err := nats.Connect("nats://localhost:4222", nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100*time.Millisecond), nats.PingInterval(2*time.Second), nats.RetryOnFailedConnect(true))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	node, err := nearredis.Open(ctx, client, nearredis.Options{
		Namespace: "shop",
		Transport: func(namespace string) (bus.Transport, error) {
			return natsbus.New(conn, natsbus.Options{Namespace: namespace})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(ctx)
}
