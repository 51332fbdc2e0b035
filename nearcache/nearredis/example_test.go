package nearredis_test

import (
	"context"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

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
