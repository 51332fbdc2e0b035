package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/redis/go-redis/v9"
)

// naive is the near cache that one writes in an afternoon: ristretto in front
// of Redis; who writes publishes the key, and who hears it drops the key.
type naive struct {
	client *redis.Client
	bus    *redis.Client
	near   *ristretto.Cache[string, int64]
	death  *death
	cancel context.CancelFunc
	done   chan struct{}
}

const naiveChannel = "naive"

func openNaive(s settings, d *death) (subject, error) {
	near, err := ristretto.NewCache(&ristretto.Config[string, int64]{
		NumCounters: 1e5, MaxCost: 1 << 24, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	addr := s.Bus
	if s.BusKind != "pubsub" {
		addr = s.Redis
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &naive{
		client: redis.NewClient(&redis.Options{Addr: s.Redis, ContextTimeoutEnabled: true, MaxRetries: -1}),
		bus:    redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1}),
		near:   near, death: d, cancel: cancel, done: make(chan struct{}),
	}
	sub := n.bus.Subscribe(ctx, naiveChannel)
	go func() { // ends with close
		defer close(n.done)
		for m := range sub.Channel() {
			n.near.Del(m.Payload)
		}
	}()
	context.AfterFunc(ctx, func() { _ = sub.Close() })
	return n, nil
}

func (n *naive) fetch(ctx context.Context, key string, load func(context.Context) (int64, error)) (int64, error) {
	if v, ok := n.near.Get(key); ok {
		return v, nil
	}
	v, err := n.client.Get(ctx, key).Int64()
	if errors.Is(err, redis.Nil) {
		if v, err = load(ctx); err == nil {
			err = n.client.Set(ctx, key, v, timeToLive).Err()
		}
	}
	if err != nil {
		return 0, err
	}
	n.near.SetWithTTL(key, v, 1, timeToLive)
	return v, nil
}

func (n *naive) write(ctx context.Context, op operation, key string, version int64) error {
	var err error
	if op == set {
		err = n.client.Set(ctx, key, strconv.FormatInt(version, 10), timeToLive).Err()
	} else {
		err = n.client.Del(ctx, key).Err()
	}
	n.near.Del(key)
	if err != nil {
		return err
	}
	n.death.at("stored")
	n.death.at("announcing")
	err = n.bus.Publish(ctx, naiveChannel, key).Err()
	n.death.at("announced")
	return err
}

func (n *naive) report() report { return report{} }

func (n *naive) close() {
	n.cancel()
	<-n.done
	n.near.Close()
	_ = n.client.Close()
	_ = n.bus.Close()
}
