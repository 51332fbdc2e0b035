package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nearbus/nearbus/nearcache/nearprom"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// poolSize is how many connections to the shared tier a process keeps and uses
// again for all of its requests.
const poolSize = 50

// closeTimeout is how long a process that ends waits for invalidations to be delivered.
const closeTimeout = 5 * time.Second

// wiring says what a process stands on.
type wiring struct {
	store, bus                   string
	redisURL, memcached, natsURL string
	database                     string
	writeThrough                 bool
}

// open connects a service. The function closes what was opened.
func (w wiring) open(ctx context.Context) (*service, func(), error) {
	var c closer
	s, err := w.connect(ctx, &c)
	if err != nil {
		c.closeAll()
		return nil, nil, err
	}
	return s, c.closeAll, nil
}

func (w wiring) connect(ctx context.Context, c *closer) (*service, error) {
	db, err := openDatabase(ctx, w.database)
	if err != nil {
		return nil, err
	}
	c.add(db.close)
	client, err := w.redis(c)
	if err != nil {
		return nil, err
	}
	store, err := w.openStore(client, c)
	if err != nil {
		return nil, err
	}
	transport, err := w.openTransport(client, c)
	if err != nil {
		return nil, err
	}
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		return nil, err
	}
	b, err := bus.New(transport, bus.Options{Logger: slog.Default()})
	if err != nil {
		return nil, err
	}
	c.add(b.Close)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{Logger: slog.Default()})
	if err != nil {
		return nil, err
	}
	c.add(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return node.Close(ctx)
	})
	users, err := nearcache.New(node, "users", nearcache.Options[user]{TTL: 300 * time.Second})
	if err != nil {
		return nil, err
	}
	scrapes := promhttp.HandlerFor(registryOf(node), promhttp.HandlerOpts{})
	return &service{db: db, node: node, users: users, writeThrough: w.writeThrough, metrics: scrapes, began: time.Now()}, nil
}

// registryOf returns what Prometheus is shown of a node. The client's own collectors, for Go and
// the process, may be registered beside it.
func registryOf(node *nearcache.Node) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(nearprom.New(node))
	return registry
}

// redis returns the client that store and bus have in common, nil if neither
// uses Redis.
func (w wiring) redis(c *closer) (*redis.Client, error) {
	if w.store != "redis" && w.bus != "redis" {
		return nil, nil
	}
	opts, err := redis.ParseURL(w.redisURL)
	if err != nil {
		return nil, fmt.Errorf("-redis: want a URL like redis://localhost:6379")
	}
	opts.PoolSize, opts.MaxRetries, opts.DialerRetries, opts.ContextTimeoutEnabled = poolSize, -1, 1, true
	logging.Disable() // go-redis prints each failed dial; the node's Logger says what matters
	client := redis.NewClient(opts)
	c.add(client.Close)
	return client, nil
}

// openStore is the one place that knows which shared tier it is.
func (w wiring) openStore(client *redis.Client, c *closer) (driver.Store, error) {
	switch w.store {
	case "redis":
		return redisstore.New(client, redisstore.Options{Namespace: "userservice"})
	case "memcached":
		client := memcache.New(w.memcached)
		client.MaxIdleConns, client.Timeout = poolSize, 250*time.Millisecond
		c.add(client.Close)
		return memcachestore.New(client, memcachestore.Options{Namespace: "userservice"})
	default:
		return nil, fmt.Errorf("-store: %q is neither redis nor memcached", w.store)
	}
}

// openTransport is the one place that knows which bus it is.
func (w wiring) openTransport(client *redis.Client, c *closer) (bus.Transport, error) {
	switch w.bus {
	case "redis":
		return redisbus.New(client, redisbus.Options{Namespace: "userservice"})
	case "nats":
		conn, err := nats.Connect(w.natsURL, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
			nats.ReconnectWait(100*time.Millisecond), nats.PingInterval(2*time.Second), nats.RetryOnFailedConnect(true))
		if err != nil {
			return nil, fmt.Errorf("-nats: %w", err)
		}
		c.add(func() error { conn.Close(); return nil })
		return natsbus.New(conn, natsbus.Options{Namespace: "userservice"})
	default:
		return nil, fmt.Errorf("-bus: %q is neither nats nor redis", w.bus)
	}
}

// closer closes what was opened, the last first.
type closer []func() error

func (c *closer) add(f func() error) { *c = append(*c, f) }

func (c *closer) closeAll() {
	for _, f := range slices.Backward(*c) {
		_ = f()
	}
}
