// Package users has what is the same whichever cache the servers use.
package users

import (
	"context"
	"errors"
)

// User is a row.
type User struct{ ID, Name string }

// ErrNone says that the database has no such user.
var ErrNone = errors.New("users: no such user")

// Cache is what a server needs of a cache. Its methods may be called at once.
type Cache interface {
	// User returns a user, or an error that wraps ErrNone.
	User(ctx context.Context, id string) (User, error)

	// Changed takes in that the database has another value of a user now.
	Changed(ctx context.Context, u User) error

	// Close ends the cache and its connections. Nobody may use the cache any more.
	Close() error
}
