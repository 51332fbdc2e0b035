// Package lru keeps users near for a minute, in the expirable LRU of hashicorp/golang-lru. No
// server tells another of a change.
package lru

import (
	"context"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

// Users is the cache of one server.
type Users struct {
	near *expirable.LRU[string, users.User]
	db   *users.DB
}

// Open makes the cache of a server. There is nothing to connect to.
func Open(_ context.Context, _ string, db *users.DB) (*Users, error) {
	return &Users{near: expirable.NewLRU[string, users.User](10_000, nil, time.Minute), db: db}, nil
}

// User reads near, else from the database.
func (u *Users) User(ctx context.Context, id string) (users.User, error) {
	if user, ok := u.near.Get(id); ok {
		return user, nil
	}
	user, err := u.db.User(ctx, id)
	if err == nil {
		u.near.Add(id, user)
	}
	return user, err
}

// Changed drops the user here.
func (u *Users) Changed(_ context.Context, user users.User) error {
	u.near.Remove(user.ID)
	return nil
}

// Close has nothing to close.
func (u *Users) Close() error { return nil }
