package simulate

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// life is one life of a process: from its start to its crash or end. It has an identity
// on the network, so that what is left of it after a crash reaches nobody.
type life struct {
	fleet     *fleet
	number    int // among all lives of the run
	node      int // which process of the fleet
	name      string
	namespace string // empty: that of the fleet
	frugal    bool   // its times are shorter than the plan says
	began     time.Time
	closing   atomic.Bool // its caches are being closed: they may say so
	over      atomic.Bool // crashed or closed: what it answers does not count
	shared    *shared.Tier
	library   *nearcache.Node
	cache     *nearcache.Cache[int64]
	companion *nearcache.Cache[int64]
	bus       *bus.Bus
	clients   []*redis.Client
	memcached *memcache.Client // nil with Redis
	before    map[string]int64 // what its counters said before the work; nil with faults

	mu      sync.Mutex // protects the fields below
	records []history.Record
	acked   map[uint32]int64 // highest version by key that was acknowledged
	loads   []load
}

// nearBytes is small, since the fleet has few keys.
func (p *Plan) nearBytes() int64 {
	if p.Crowded {
		return 64 << 10
	}
	return 1 << 20
}

// start begins a life, as the documentation of the library says.
func (f *fleet) start(node int) (*life, error) {
	l := f.newLife(node)
	return l, l.open()
}

// open makes what a process holds.
func (l *life) open() (err error) {
	f := l.fleet
	if l.shared, err = l.tier(); err != nil {
		return err
	}
	if err := l.listen(); err != nil {
		return err
	}
	l.library, err = nearcache.NewNode(l.shared, l.bus, nearcache.NodeOptions{
		JournalInterval: l.repairInterval(), MaxStaleness: f.plan.MaxStaleness,
		SharedPatience: f.plan.SharedPatience, NearBytes: f.plan.nearBytes(),
	})
	if err != nil {
		return err
	}
	return l.openCaches()
}

func (l *life) openCaches() (err error) {
	if l.cache, err = nearcache.New(l.library, cacheName, l.cacheOptions()); err != nil {
		return err
	}
	l.companion, err = nearcache.New(l.library, companionName, l.companionOptions())
	return err
}

func (l *life) repairInterval() time.Duration {
	if l.frugal {
		return l.fleet.plan.JournalInterval / 2
	}
	return l.fleet.plan.JournalInterval
}

// cacheOptions are those of the plan, or some that keep values near for less long.
func (l *life) cacheOptions() nearcache.Options[int64] {
	o := l.fleet.plan.cacheOptions()
	if l.frugal {
		o.NearTTL = time.Second
	}
	return o
}

// tier returns the shared tier as this life sees it.
func (l *life) tier() (*shared.Tier, error) {
	if l.fleet.plan.Store == Memcached {
		l.memcached = memcache.New(memcachedName + ":11211")
		l.memcached.DialContext = l.fleet.network.dialer(l.name)
		store, err := memcachestore.New(l.memcached, memcachestore.Options{Namespace: l.namespace})
		if err != nil {
			return nil, err
		}
		return shared.New(store, shared.Options{})
	}
	store, err := redisstore.New(l.client(tierName), redisstore.Options{Namespace: l.namespace})
	if err != nil {
		return nil, err
	}
	return shared.New(store, shared.Options{})
}

// listen makes the bus of this life.
func (l *life) listen() error {
	if l.fleet.plan.Bus == OtherRedis {
		l.client(busName)
	}
	client := l.clients[len(l.clients)-1]
	transport, err := redisbus.New(client, redisbus.Options{Namespace: l.namespace})
	if err != nil {
		return err
	}
	l.bus, err = bus.New(subscriber{transport}, bus.Options{Node: l.name})
	return err
}

// client returns a client as a careful user configures it.
func (l *life) client(name string) *redis.Client {
	c := newClient(name, l.fleet.network.dialer(l.name))
	l.clients = append(l.clients, c)
	return c
}

func newClient(name string, dial func(context.Context, string, string) (net.Conn, error)) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: name + ":6379", Dialer: dial, PoolSize: poolSize,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true,
		// Else the name is looked up outside of the bubble.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// poolSize is so large that nobody waits for a connection: a client keeps timers for
// that in a place that bubbles would share.
const poolSize = 500

// close ends a life in order.
func (l *life) close() {
	l.over.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is pending ends with the life
	_ = l.library.Close(ctx)
	_ = l.bus.Close()
	for _, c := range l.clients {
		_ = c.Close()
	}
	if l.memcached != nil {
		_ = l.memcached.Close()
	}
}

// crash ends a life at once: nobody hears of it any more. What it had sent may arrive
// or not.
func (l *life) crash(arrives bool) {
	l.over.Store(true)
	l.fleet.network.sever(l.name, arrives)
	l.fleet.background.Go(l.close) // what is left of it has no effect outside
}

func (l *life) note(r history.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over.Load() {
		return
	}
	l.records = append(l.records, r)
	if r.Kind == history.Acked {
		l.acked[r.Key] = max(l.acked[r.Key], r.Version)
	}
}

// load is the loader: it reads the source, and takes some time.
func (l *life) load(ctx context.Context, key uint32) (nearcache.Loaded[int64], error) {
	read := l.fleet.source.read(l.fleet.behind(l.name, key), key)
	if err := sleep(ctx, l.fleet.loadTime(l.name, key)); err != nil {
		return nearcache.Loaded[int64]{}, err
	}
	l.noteLoads(read)
	return read.entry(key)
}

// load is one call of a loader.
type load struct {
	*snapshot
	end history.Moment
}

func (l *life) noteLoads(read *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads = append(l.loads, load{read, now()})
}

func entryOf(key uint32, version int64) nearcache.Entry[int64] {
	return nearcache.Entry[int64]{Value: valueOf(key, version), Tags: tagsOf(key)}
}

// memcachedNearTTL is the bound where a message is lost that nobody notices.
const memcachedNearTTL = 20 * time.Second

// cacheOptions are those of the cache.
func (p *Plan) cacheOptions() nearcache.Options[int64] {
	o := nearcache.Options[int64]{TTL: 10 * time.Minute}
	if p.Store == Memcached {
		o.NearTTL = memcachedNearTTL
	}
	o.SourceLag = p.SourceLag
	if p.Features {
		o.TTL, o.Stale.For, o.RefreshAhead = 4*time.Second, time.Minute, time.Second
		o.NotFoundTTL, o.TTLJitter, o.NearTTL = 3*time.Second, 0.2, 0
	}
	return o
}

// retire ends a life as a deployment does: it delivers what it owes first, for a while.
func (l *life) retire() {
	ctx, cancel := context.WithTimeout(l.fleet.context, 2*time.Second)
	defer cancel()
	_ = l.library.Drain(ctx)
	l.close()
}
