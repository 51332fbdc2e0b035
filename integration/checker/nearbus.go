package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// ours is this library, used as its documentation says.
type ours struct {
	node    *nearcache.Node
	cache   *nearcache.Cache[int64]
	bus     *bus.Bus
	faults  *faultyTransport
	closers []func()
}

const cacheName = "checked"

func openNearbus(s settings, d *death) (_ subject, err error) {
	o := &ours{}
	client := redisClient(s)
	client.AddHook(d.hook())
	o.closers = append(o.closers, func() { _ = client.Close() })
	if err := takeOut(s.Off); err != nil {
		return nil, err
	}
	store, err := o.store(s, d, client)
	if err != nil {
		return nil, err
	}
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		return nil, err
	}
	transport, err := o.transport(s, d, client)
	if err != nil {
		return nil, err
	}
	if o.bus, err = bus.New(transport, bus.Options{}); err != nil {
		return nil, err
	}
	o.node, err = nearcache.NewNode(tier, o.bus, nearcache.NodeOptions{
		JournalInterval: s.JournalInterval, MaxStaleness: s.MaxStaleness, AuditRate: 500,
	})
	if err != nil {
		return nil, err
	}
	options := nearcache.Options[int64]{TTL: timeToLive}
	if s.Features {
		options = featureOptions()
	}
	o.cache, err = nearcache.New[int64](o.node, cacheName, options)
	return o, err
}

// store returns what the shared tier stands on.
func (o *ours) store(s settings, d *death, client redis.UniversalClient) (driver.Store, error) {
	if len(s.Shards) == 0 {
		return redisstore.New(client, redisstore.Options{})
	}
	clients := make([]redis.UniversalClient, len(s.Shards))
	for i, addr := range s.Shards {
		own := redisClient(settings{Redis: addr})
		own.AddHook(d.hook())
		o.closers = append(o.closers, func() { _ = own.Close() })
		clients[i] = own
	}
	store, err := overShards(clients)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return store, store.Open(ctx)
}

// overShards returns a store over servers that know nothing of each other.
func overShards(clients []redis.UniversalClient) (*shardstore.Store, error) {
	shards := make([]shardstore.Shard, len(clients))
	for i, client := range clients {
		store, err := redisstore.New(client, redisstore.Options{})
		if err != nil {
			return nil, err
		}
		shards[i] = shardstore.Shard{Name: string(rune('a' + i)), Store: store}
	}
	return shardstore.New(shards, shardstore.Options{})
}

// redisClient returns a client as a careful user configures it.
func redisClient(s settings) redis.UniversalClient {
	if len(s.Cluster) > 0 {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: s.Cluster, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	}
	if s.Watcher != "" {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: servers.SentinelName, SentinelAddrs: []string{s.Watcher}, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		})
	}
	return redis.NewClient(&redis.Options{Addr: s.Redis, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
}

func (o *ours) transport(s settings, d *death, client redis.UniversalClient) (bus.Transport, error) {
	switch s.BusKind {
	case "redis": // the shared tier publishes what it writes
		return redisbus.New(client, redisbus.Options{})
	case "pubsub":
		own := redis.NewClient(&redis.Options{Addr: s.Bus, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
		o.closers = append(o.closers, func() { _ = own.Close() })
		transport, err := redisbus.New(own, redisbus.Options{})
		o.faults = newFaultyTransport(transport, d)
		return o.faults, err
	case "nats", "jetstream":
		nc, err := nats.Connect("nats://"+s.Bus, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(100*time.Millisecond),
			nats.PingInterval(2*time.Second), nats.RetryOnFailedConnect(true))
		if err != nil {
			return nil, err
		}
		o.closers = append(o.closers, nc.Close)
		var transport bus.Transport
		if s.BusKind == "nats" {
			transport, err = natsbus.New(nc, natsbus.Options{})
		} else {
			transport, err = natsbus.NewStream(context.Background(), nc, natsbus.StreamOptions{})
		}
		o.faults = newFaultyTransport(transport, d)
		return o.faults, err
	default:
		return nil, errors.New("checker: there is no bus " + s.BusKind)
	}
}

func (o *ours) fetch(ctx context.Context, key string, load func(context.Context) (int64, error)) (int64, error) {
	return o.cache.FetchEntry(ctx, key, func(ctx context.Context, _ string, _ *int64) (nearcache.Loaded[int64], error) {
		version, err := load(ctx)
		return nearcache.Loaded[int64]{Value: version, Tags: tagsOf(key)}, err
	})
}

// tagsOf returns the tags of a key: every other key has one of its own, and one
// that others have as well.
func tagsOf(key string) []string {
	if last := key[len(key)-1]; last%2 == 0 {
		return []string{"of " + key, "group " + string(last)}
	}
	return nil
}

func (o *ours) write(ctx context.Context, op operation, key string, version int64) error {
	var err error
	switch op {
	case set:
		err = o.cache.SetEntry(ctx, key, nearcache.Entry[int64]{Value: version, Tags: tagsOf(key)})
	case invalidate:
		if tags := tagsOf(key); tags != nil && version%4 > 0 {
			// One in twelve takes others along: more, and reads wait for loads most
			// of the time.
			err = o.cache.InvalidateTags(ctx, tags[max(0, version%16-14)])
			break
		}
		err = o.cache.Invalidate(ctx, key)
	case del:
		err = o.cache.Delete(ctx, key)
	}
	return unknown(err)
}

// unknown returns the error of a write unless the shared tier has it all the
// same: then the journal tells the others.
func unknown(err error) error {
	if errors.Is(err, nearcache.ErrNotBroadcast) && !errors.Is(err, nearcache.ErrOutcomeUnknown) {
		return nil
	}
	return err
}

func (o *ours) report() report {
	n, c := o.node.Stats(), o.cache.Stats()
	r := report{
		Clock: n.Near.ClockLag, SlowestRepair: n.Journal.Slowest, Gaps: n.Bus.Gaps, Repairs: n.Journal.Rounds,
		Repaired: n.Journal.Repaired, Owed: c.Writes.Pending, NearHits: c.Reads.Hits, Refreshed: c.Loads.Refreshed,
	}
	m := o.node.Consistency()
	r.Metered, r.MeteredStale, r.MeteredWorst = m.Checked, m.Stale, m.Worst
	if o.faults != nil {
		r.Faults = o.faults.counts()
	}
	return r
}

func (o *ours) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is pending ends with the process
	_ = o.node.Close(ctx)
	_ = o.bus.Close()
	for _, c := range o.closers {
		c()
	}
}
