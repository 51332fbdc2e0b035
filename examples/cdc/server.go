package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// ttl is so long that nothing in a run becomes new by itself.
const ttl = time.Hour

// user is a row, as the service answers with it.
type user struct {
	Name    string
	Version int64
}

// server is a server of the fleet: it answers from its near tier, from Redis, or else from the
// database. Nothing in a server changes users, or knows of changes.
type server struct {
	node   *nearcache.Node
	users  *nearcache.Cache[user]
	client *redis.Client
}

// openServer returns a server of the fleet. Without a pool it loads nothing.
func openServer(ctx context.Context, redisAddr string, source *pgxpool.Pool) (*server, error) {
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: redisAddr}))
	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "cdc"})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	opts := nearcache.Options[user]{TTL: ttl, NotFoundTTL: ttl}
	if source != nil {
		opts.Loader = nearcache.ValueLoader(func(ctx context.Context, key string) (user, error) { return load(ctx, source, key) })
	}
	users, err := nearcache.New(node, "users", opts)
	s := &server{node, users, client}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func load(ctx context.Context, source *pgxpool.Pool, key string) (u user, err error) {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return u, nearcache.ErrNotFound
	}
	err = source.QueryRow(ctx, "SELECT name, version FROM users WHERE id = $1", id).Scan(&u.Name, &u.Version)
	if errors.Is(err, pgx.ErrNoRows) {
		return u, nearcache.ErrNotFound
	}
	return u, err
}

// answer returns the name of a user, or "none".
func (s *server) answer(ctx context.Context, id int64) (string, error) {
	u, err := s.users.Get(ctx, fmt.Sprint(id))
	if errors.Is(err, nearcache.ErrNotFound) {
		return "none", nil
	}
	return u.Name, err
}

func (s *server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.node.Close(ctx) // what is pending was pending in vain: the run is over
	_ = s.client.Close()
}
