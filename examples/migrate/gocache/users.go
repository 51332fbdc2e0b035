// Package gocache keeps users with a loadable chain of github.com/eko/gocache: near in
// ristretto, and in Redis for an hour.
package gocache

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/store"
	redisstore "github.com/eko/gocache/store/redis/v4"
	ristrettostore "github.com/eko/gocache/store/ristretto/v4"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

// Users is the cache of one server.
type Users struct {
	client *redis.Client
	near   *ristretto.Cache[string, string]
	chain  *cache.ChainCache[string]
	cache  *cache.LoadableCache[string]
}

// Open connects a server to the Redis at addr.
func Open(_ context.Context, addr string, db *users.DB) (*Users, error) {
	near, err := ristretto.NewCache(&ristretto.Config[string, string]{NumCounters: 10_000, MaxCost: 1 << 20, BufferItems: 64})
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	chain := cache.NewChain(
		cache.New[string](ristrettostore.NewRistretto(near, store.WithExpiration(time.Minute), store.WithSynchronousSet())),
		cache.New[string](redisstore.NewRedis(client, store.WithExpiration(time.Hour))),
	)
	load := func(ctx context.Context, id any) (string, []store.Option, error) {
		user, err := db.User(ctx, id.(string))
		if err != nil {
			return "", nil, err
		}
		data, err := json.Marshal(user)
		return string(data), nil, err
	}
	return &Users{client: client, near: near, chain: chain, cache: cache.NewLoadable(load, chain)}, nil
}

// User reads near, else from Redis, else from the database.
func (u *Users) User(ctx context.Context, id string) (user users.User, err error) {
	data, err := u.cache.Get(ctx, id)
	if err == nil {
		err = json.Unmarshal([]byte(data), &user)
	}
	return user, err
}

// Changed deletes the user in both tiers.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	return u.cache.Delete(ctx, user.ID)
}

// Close stores what was loaded, and closes the connections.
func (u *Users) Close() error {
	err := errors.Join(u.cache.Close(), u.chain.Close())
	u.near.Close()
	return errors.Join(err, u.client.Close())
}
