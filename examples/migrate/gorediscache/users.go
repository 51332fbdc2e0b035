// Package gorediscache keeps users with github.com/go-redis/cache: near for a minute, in Redis
// for an hour.
package gorediscache

import (
	"context"
	"time"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

// Users is the cache of one server.
type Users struct {
	client *redis.Client
	cache  *cache.Cache
	db     *users.DB
}

// Open connects a server to the Redis at addr.
func Open(_ context.Context, addr string, db *users.DB) (*Users, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	c := cache.New(&cache.Options{Redis: client, LocalCache: cache.NewTinyLFU(1000, time.Minute)})
	return &Users{client: client, cache: c, db: db}, nil
}

// User reads near, else from Redis, else from the database.
func (u *Users) User(ctx context.Context, id string) (user users.User, err error) {
	err = u.cache.Once(&cache.Item{
		Ctx: ctx, Key: "user:" + id, Value: &user, TTL: time.Hour,
		Do: func(*cache.Item) (any, error) { return u.db.User(ctx, id) },
	})
	return user, err
}

// Changed puts the user into both tiers.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	return u.cache.Set(&cache.Item{Ctx: ctx, Key: "user:" + user.ID, Value: user, TTL: time.Hour})
}

// Close closes the connections.
func (u *Users) Close() error { return u.client.Close() }
