// Package goredis keeps users in Redis for an hour, and near in the client-side cache of
// go-redis, which Redis tells of changes.
package goredis

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

// Users is the cache of one server.
type Users struct {
	client *redis.Client
	db     *users.DB
}

// Open connects a server to the Redis at addr.
func Open(_ context.Context, addr string, db *users.DB) (*Users, error) {
	client := redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 3,
		ClientSideCacheConfig: &redis.ClientSideCacheConfig{MaxEntries: 10_000},
	})
	return &Users{client: client, db: db}, nil
}

// User reads near, else from Redis, else from the database.
func (u *Users) User(ctx context.Context, id string) (user users.User, err error) {
	data, err := u.client.Get(ctx, "user:"+id).Bytes()
	if errors.Is(err, redis.Nil) {
		return u.load(ctx, id)
	}
	if err == nil {
		err = json.Unmarshal(data, &user)
	}
	return user, err
}

func (u *Users) load(ctx context.Context, id string) (users.User, error) {
	user, err := u.db.User(ctx, id)
	if err != nil {
		return users.User{}, err
	}
	data, err := json.Marshal(user)
	if err != nil {
		return users.User{}, err
	}
	return user, u.client.Set(ctx, "user:"+id, data, time.Hour).Err()
}

// Changed deletes the user in Redis, which tells every client that has read the user.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	return u.client.Del(ctx, "user:"+user.ID).Err()
}

// Close closes the connections.
func (u *Users) Close() error { return u.client.Close() }
