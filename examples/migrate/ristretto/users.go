// Package ristretto keeps users near in ristretto for an hour. A server that changes a user
// publishes the id on a channel of Redis, and every server drops the user.
package ristretto

import (
	"context"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

const channel = "users.changed"

// Users is the cache of one server.
type Users struct {
	client *redis.Client
	heard  *redis.PubSub
	near   *ristretto.Cache[string, users.User]
	db     *users.DB
	ended  chan struct{}
}

// Open connects a server to the Redis at addr.
func Open(ctx context.Context, addr string, db *users.DB) (*Users, error) {
	near, err := ristretto.NewCache(&ristretto.Config[string, users.User]{NumCounters: 10_000, MaxCost: 1 << 20, BufferItems: 64})
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	heard := client.Subscribe(ctx, channel)
	if _, err := heard.Receive(ctx); err != nil {
		near.Close()
		_ = client.Close()
		return nil, err
	}
	u := &Users{client: client, heard: heard, near: near, db: db, ended: make(chan struct{})}
	go u.listen() // ends with Close
	return u, nil
}

func (u *Users) listen() {
	defer close(u.ended)
	for message := range u.heard.Channel() {
		u.near.Del(message.Payload)
	}
}

// User reads near, else from the database.
func (u *Users) User(ctx context.Context, id string) (users.User, error) {
	if user, ok := u.near.Get(id); ok {
		return user, nil
	}
	user, err := u.db.User(ctx, id)
	if err == nil {
		u.near.SetWithTTL(id, user, 1, time.Hour)
		u.near.Wait()
	}
	return user, err
}

// Changed drops the user here, and tells the other servers.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	u.near.Del(user.ID)
	return u.client.Publish(ctx, channel, user.ID).Err()
}

// Close closes the subscription and the connections.
func (u *Users) Close() error {
	_ = u.heard.Close()
	<-u.ended
	u.near.Close()
	return u.client.Close()
}
