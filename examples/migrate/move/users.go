// Package move keeps users in two caches at a time, while a fleet that runs goes from an old
// cache to a new one.
package move

import (
	"context"
	"errors"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

// Users is the caches of one server. It tells both of each change and reads one of them.
type Users struct {
	Old, New users.Cache

	// ReadNew is false in the first deployment of a move, and true in the second.
	ReadNew bool
}

// User reads the cache that the deployment reads.
func (u *Users) User(ctx context.Context, id string) (users.User, error) {
	if u.ReadNew {
		return u.New.User(ctx, id)
	}
	return u.Old.User(ctx, id)
}

// Changed tells both caches: servers of the other deployment may read the other one.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	return errors.Join(u.New.Changed(ctx, user), u.Old.Changed(ctx, user))
}

// Close closes both.
func (u *Users) Close() error { return errors.Join(u.New.Close(), u.Old.Close()) }
