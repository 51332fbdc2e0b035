// Package nearbus keeps users with nearbus: near, and in Redis for an hour. It is where every
// move ends.
package nearbus

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/examples/migrate/users"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// Users is the cache of one server.
type Users struct {
	client *redis.Client
	node   *nearcache.Node
	cache  *nearcache.Cache[users.User]
}

// Open connects a server to the Redis at addr.
func Open(ctx context.Context, addr string, db *users.DB) (*Users, error) {
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: addr}))
	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "shop"})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	load := func(ctx context.Context, id string) (users.User, error) {
		user, err := db.User(ctx, id)
		if errors.Is(err, users.ErrNone) {
			err = errors.Join(err, nearcache.ErrNotFound)
		}
		return user, err
	}
	cache, err := nearcache.New(node, "users", nearcache.Options[users.User]{TTL: time.Hour, Loader: nearcache.ValueLoader(load)})
	if err != nil {
		return nil, errors.Join(err, node.Close(ctx), client.Close())
	}
	return &Users{client: client, node: node, cache: cache}, nil
}

// User reads near, else from Redis, else from the database.
func (u *Users) User(ctx context.Context, id string) (users.User, error) {
	return u.cache.Get(ctx, id)
}

// Changed ends the old value of the user, in Redis and on every server.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	return u.cache.Invalidate(context.WithoutCancel(ctx), user.ID)
}

// Node returns the node of the server, which tells how the server is.
func (u *Users) Node() *nearcache.Node { return u.node }

// Close delivers what the others have not been told, for some seconds at most, and closes the
// connections.
func (u *Users) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(u.node.Close(ctx), u.client.Close())
}
