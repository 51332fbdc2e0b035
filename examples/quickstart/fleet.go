package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// user is what is cached. Its version tells how old an answer is.
type user struct {
	ID      int
	Name    string
	Version int64
}

// fleet is a number of nodes that share the cache "users". In a service, each
// would be a process of its own.
type fleet struct {
	on    string // what it stands on, for people
	nodes []*nearcache.Node
	users []*nearcache.Cache[user]

	memory *memstore.Store
	hub    *membus.Hub
	closes []func()
}

func newFleet(ctx context.Context, cfg config) (*fleet, error) {
	f := &fleet{memory: memstore.New(memstore.Options{}), hub: membus.NewHub(), on: "a store and a bus in memory"}
	if err := f.open(ctx, cfg); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fleet) open(ctx context.Context, cfg config) error {
	switch {
	case cfg.redisURL != "" && cfg.natsURL != "":
		f.on = "Redis, with a bus on NATS"
	case cfg.redisURL != "":
		f.on = "Redis, with a bus on the same Redis"
	case cfg.natsURL != "":
		f.on = "a store in memory, with a bus on NATS"
	}
	for range cfg.nodes {
		if err := f.join(ctx, cfg); err != nil {
			return err
		}
	}
	// What an earlier run left on a server is none of ours.
	if err := f.users[0].Clear(ctx); err != nil {
		return err
	}
	return f.heard(ctx)
}

// join adds a node with connections of its own.
func (f *fleet) join(ctx context.Context, cfg config) error {
	store, transport, err := f.drivers(ctx, cfg)
	if err != nil {
		return err
	}
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		return err
	}
	b, err := bus.New(transport, bus.Options{})
	if err != nil {
		return err
	}
	f.closes = append(f.closes, func() { _ = b.Close() })
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	if err != nil {
		return err
	}
	f.closes = append(f.closes, func() { _ = node.Close(context.Background()) })
	users, err := nearcache.New[user](node, "users", nearcache.Options[user]{})
	if err != nil {
		return err
	}
	f.nodes, f.users = append(f.nodes, node), append(f.users, users)
	return nil
}

// drivers chooses what stands behind a node. This is all that changes from one
// server to another.
func (f *fleet) drivers(ctx context.Context, cfg config) (store driver.Store, transport bus.Transport, err error) {
	store, transport = f.memory, f.hub.Join()
	if cfg.redisURL != "" {
		client, err := dialRedis(ctx, cfg.redisURL)
		if err != nil {
			return nil, nil, err
		}
		f.closes = append(f.closes, func() { _ = client.Close() })
		if store, err = redisstore.New(client, redisstore.Options{Namespace: "quickstart"}); err != nil {
			return nil, nil, err
		}
		if transport, err = redisbus.New(client, redisbus.Options{Namespace: "quickstart"}); err != nil {
			return nil, nil, err
		}
	}
	if cfg.natsURL != "" {
		conn, err := nats.Connect(cfg.natsURL, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort())
		if err != nil {
			return nil, nil, fmt.Errorf("NATS_URL: %w", err)
		}
		f.closes = append(f.closes, conn.Close)
		if transport, err = natsbus.New(conn, natsbus.Options{Namespace: "quickstart"}); err != nil {
			return nil, nil, err
		}
	}
	if cfg.broken {
		transport = lossy{transport}
	}
	return store, transport, nil
}

func dialRedis(ctx context.Context, url string) (*redis.Client, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("REDIS_URL: not a URL of a Redis server")
	}
	opts.PoolSize = 50                // reused by all requests of the process
	opts.MaxRetries = -1              // the library decides what is tried again
	opts.DialerRetries = 1            // likewise
	opts.ContextTimeoutEnabled = true // a call ends with its context
	client := redis.NewClient(opts)
	if err := client.Ping(ctx).Err(); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	return client, nil
}

// heard waits until every node hears the bus.
func (f *fleet) heard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, node := range f.nodes {
		for node.Stats().Bus.Cut {
			select {
			case <-ctx.Done():
				return errors.New("a node does not hear the bus")
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}

func (f *fleet) close() {
	for _, c := range slices.Backward(f.closes) {
		c()
	}
}

// heartbeat is the type of a message, in its third byte.
const heartbeat = 2

// lossy loses every invalidation and lets heartbeats through: the one loss that
// nobody notices by itself.
type lossy struct{ bus.Transport }

func (l lossy) Receive(ctx context.Context, sink bus.Sink) error {
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		if len(payload) > 2 && payload[2] == heartbeat {
			deliver(payload)
		}
	}
	return l.Transport.Receive(ctx, sink)
}
