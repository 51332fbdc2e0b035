package main

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"
)

// tracking is the client-side cache of rueidis, which the server tells of
// changes.
type tracking struct{ client rueidis.Client }

func openRueidis(s settings) (subject, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Redis}, DisableRetry: true})
	return &tracking{client}, err
}

func (t *tracking) fetch(ctx context.Context, key string, load func(context.Context) (int64, error)) (int64, error) {
	v, err := t.client.DoCache(ctx, t.client.B().Get().Key(key).Cache(), timeToLive).AsInt64()
	if err == nil || !rueidis.IsRedisNil(err) {
		return v, err
	}
	if v, err = load(ctx); err != nil {
		return 0, err
	}
	return v, t.store(ctx, key, v)
}

func (t *tracking) store(ctx context.Context, key string, version int64) error {
	return t.client.Do(ctx, t.client.B().Set().Key(key).Value(strconv.FormatInt(version, 10)).Ex(timeToLive).Build()).Error()
}

func (t *tracking) write(ctx context.Context, op operation, key string, version int64) error {
	if op == set {
		return t.store(ctx, key, version)
	}
	return t.client.Do(ctx, t.client.B().Del().Key(key).Build()).Error()
}

func (t *tracking) report() report { return report{} }

func (t *tracking) close() { t.client.Close() }
