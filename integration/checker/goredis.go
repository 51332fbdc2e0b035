package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// builtIn is the client-side cache that go-redis has built in, which the server
// tells of changes.
type builtIn struct{ client *redis.Client }

func openGoRedis(s settings) subject {
	return &builtIn{redis.NewClient(&redis.Options{
		Addr: s.Redis, Protocol: 3, ContextTimeoutEnabled: true, MaxRetries: -1,
		ClientSideCacheConfig: &redis.ClientSideCacheConfig{MaxEntries: 10_000},
	})}
}

func (b *builtIn) fetch(ctx context.Context, key string, load func(context.Context) (int64, error)) (int64, error) {
	v, err := b.client.Get(ctx, key).Int64()
	if !errors.Is(err, redis.Nil) {
		return v, err
	}
	if v, err = load(ctx); err != nil {
		return 0, err
	}
	return v, b.client.Set(ctx, key, v, timeToLive).Err()
}

func (b *builtIn) write(ctx context.Context, op operation, key string, version int64) error {
	if op == set {
		return b.client.Set(ctx, key, strconv.FormatInt(version, 10), timeToLive).Err()
	}
	return b.client.Del(ctx, key).Err()
}

func (b *builtIn) report() report { return report{} }

func (b *builtIn) close() { _ = b.client.Close() }
