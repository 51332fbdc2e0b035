// Package rueidis keeps users in Redis for an hour, and near for a minute by DoCache of rueidis,
// which Redis tells of changes.
package rueidis

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearbus/nearbus/examples/migrate/users"
)

// Users is the cache of one server.
type Users struct {
	client rueidis.Client
	db     *users.DB
}

// Open connects a server to the Redis at addr.
func Open(_ context.Context, addr string, db *users.DB) (*Users, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
	if err != nil {
		return nil, err
	}
	return &Users{client: client, db: db}, nil
}

// User reads near, else from Redis, else from the database.
func (u *Users) User(ctx context.Context, id string) (user users.User, err error) {
	get := u.client.B().Get().Key("user:" + id).Cache()
	err = u.client.DoCache(ctx, get, time.Minute).DecodeJSON(&user)
	if rueidis.IsRedisNil(err) {
		return u.load(ctx, id)
	}
	return user, err
}

func (u *Users) load(ctx context.Context, id string) (users.User, error) {
	user, err := u.db.User(ctx, id)
	if err != nil {
		return users.User{}, err
	}
	set := u.client.B().Set().Key("user:" + id).Value(rueidis.JSON(user)).Ex(time.Hour).Build()
	return user, u.client.Do(ctx, set).Error()
}

// Changed deletes the user in Redis, which tells every client that has read the user.
func (u *Users) Changed(ctx context.Context, user users.User) error {
	return u.client.Do(ctx, u.client.B().Del().Key("user:"+user.ID).Build()).Error()
}

// Close closes the connections.
func (u *Users) Close() error {
	u.client.Close()
	return nil
}
