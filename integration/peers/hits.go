package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/go-redis/cache/v9"
	"github.com/maypok86/otter/v2"
	"github.com/puzpuzpuz/xsync/v4"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/nearbus/nearbus/nearcache"
)

// longLife is a TTL that does not end here.
const longLife = time.Hour

// hits reads what is in the memory of the process.
func hits(e *env) []row {
	rows := hitsOf(e, "struct", someUser, isUser)
	return append(rows, hitsOf(e, "256 bytes", someBytes, isBytes)...)
}

func hitsOf[V any](e *env, kind string, v V, is func(V) bool) []row {
	h := &hitters[V]{env: e, v: v, is: is}
	h.open()
	var rows []row
	for _, w := range []struct {
		name    string
		order   order
		workers int
		targets []target
	}{
		{"hot key", hot(), 1, []target{{ristrettoTTL, 0.25}, {otterTTL, 0.5}, {floor, 2.5}, {goRedisCSC, 1.0 / 30}, {rueidisCSC, 1.0 / 20}}},
		{"hot key, parallel", hot(), workers(), []target{{ristrettoTTL, 0.25}, {otterTTL, 0.8}, {floor, 2.5}, {goRedisCSC, 1.0 / 30}, {rueidisCSC, 1.0 / 20}}},
		{"Zipf", zipf(), 1, []target{{ristrettoTTL, 0.5}, {otterTTL, 0.75}, {goRedisCSC, 1.0 / 8}, {rueidisCSC, 1.0 / 6}}},
		{"Zipf, parallel", zipf(), workers(), []target{{ristrettoTTL, 0.5}, {otterTTL, 0.75}, {goRedisCSC, 1.0 / 8}, {rueidisCSC, 1.0 / 6}}},
	} {
		targets := w.targets
		if kind != "struct" { // the clients hand out bytes as they are
			targets = targets[:len(targets)-2]
		}
		// By the processors: nothing here waits for anybody but a processor.
		rows = append(rows, onProcessors(kind+", "+w.name, e.compare(w.workers, h.contenders(w.order)...), targets...))
	}
	return rows
}

const (
	ristrettoTTL = "ristretto, TTL"
	otterTTL     = "otter, TTL"
	plainMap     = "map"
	floor        = "xsync.Map"
	goRedisCSC   = "go-redis CSC"
	rueidisCSC   = "rueidis DoCache"
	goRedisCache = "go-redis/cache"
)

// hitters hold all keys, each in its own way.
type hitters[V any] struct {
	*env
	v  V
	is func(V) bool

	nearbus   *nearcache.Cache[V]
	ristretto *ristretto.Cache[string, V] // with a TTL
	eternal   *ristretto.Cache[string, V] // without
	otter     *otter.Cache[string, V]
	xsync     *xsync.Map[string, V]
	csc       *redis.Client
	rueidis   rueidis.Client
	tinyLFU   *cache.Cache
	prefix    string
}

func (h *hitters[V]) open() {
	fleet := h.name()
	n := h.node(fleet, nearcache.NodeOptions{NearBytes: 256 << 20})
	h.nearbus = value(nearcache.New(n, "users", nearcache.Options[V]{TTL: longLife}))
	open := func() *ristretto.Cache[string, V] {
		c := value(ristretto.NewCache(&ristretto.Config[string, V]{NumCounters: 10 * keySpace, MaxCost: 2 * keySpace, BufferItems: 64, IgnoreInternalCost: true}))
		h.atEnd(c.Close)
		return c
	}
	h.ristretto, h.eternal = open(), open()
	h.otter = otter.Must(&otter.Options[string, V]{
		MaximumSize: 2 * keySpace, ExpiryCalculator: otter.ExpiryWriting[string, V](longLife),
	})
	h.xsync = xsync.NewMap[string, V]()
	h.prefix = h.name() + ":"
	h.csc = redis.NewClient(&redis.Options{
		Addr: h.redis(), Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{MaxEntries: 2 * keySpace},
	})
	h.atEnd(func() { _ = h.csc.Close() })
	h.rueidis = value(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{h.redis()}, CacheSizeEachConn: 512 << 20}))
	h.atEnd(h.rueidis.Close)
	h.tinyLFU = cache.New(&cache.Options{Redis: h.client(), LocalCache: cache.NewTinyLFU(2*keySpace, longLife)})
	h.fill()
}

func (h *hitters[V]) fill() {
	ctx := h.ctx
	data := h.encode()
	pipe := h.client().Pipeline()
	h.env.fill(keySpace, func(key string) error { return h.nearbus.Set(ctx, key, h.v) })
	for i, key := range keys {
		h.ristretto.SetWithTTL(key, h.v, 1, longLife)
		h.eternal.Set(key, h.v, 1)
		if i%100 == 0 { // it drops what comes too fast
			h.ristretto.Wait()
			h.eternal.Wait()
		}
		h.otter.Set(key, h.v)
		h.xsync.Store(key, h.v)
		pipe.Set(ctx, h.prefix+key, data, longLife)
		if i%1000 == 999 {
			_ = value(pipe.Exec(ctx))
		}
	}
	h.ristretto.Wait()
	h.eternal.Wait()
	// Into the memory of the clients.
	for who, get := range map[string]func(string) error{goRedisCSC: h.viaGoRedis, rueidisCSC: h.viaRueidis, goRedisCache: h.viaCache} {
		h.env.fill(keySpace, func(key string) error {
			if err := get(key); err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
			return nil
		})
	}
}

// encode returns the value as the clients keep it.
func (h *hitters[V]) encode() []byte {
	if b, ok := any(h.v).([]byte); ok {
		return b
	}
	return value(msgpack.Marshal(h.v))
}

func (h *hitters[V]) decode(data []byte) error {
	var v V
	if b, ok := any(&v).(*[]byte); ok {
		*b = data
	} else if err := msgpack.Unmarshal(data, &v); err != nil {
		return err
	}
	return h.check(v)
}

func (h *hitters[V]) check(v V) error {
	if !h.is(v) {
		return errWrong
	}
	return nil
}

func (h *hitters[V]) viaGoRedis(key string) error {
	data, err := h.csc.Get(h.ctx, h.prefix+key).Bytes()
	if err != nil {
		return err
	}
	return h.decode(data)
}

func (h *hitters[V]) viaRueidis(key string) error {
	data, err := h.rueidis.DoCache(h.ctx, h.rueidis.B().Get().Key(h.prefix+key).Cache(), longLife).AsBytes()
	if err != nil {
		return err
	}
	return h.decode(data)
}

func (h *hitters[V]) viaCache(key string) error {
	var v V
	err := h.tinyLFU.Once(&cache.Item{
		Ctx: h.ctx, Key: h.prefix + "own:" + key, Value: &v, TTL: longLife,
		Do: func(*cache.Item) (any, error) { return h.v, nil },
	})
	if err != nil {
		return err
	}
	return h.check(v)
}

// contenders ask for keys in this order. The loops of those who take
// nanoseconds are written out, so that no call but theirs is measured.
func (h *hitters[V]) contenders(o order) []contender {
	return []contender{
		inTurn("nearbus", func(w, i, to int) bool { return h.readNearbus(o, w, i, to) }),
		inTurn(ristrettoTTL, func(w, i, to int) bool { return h.readRistretto(h.ristretto, o, w, i, to) }),
		inTurn("ristretto", func(w, i, to int) bool { return h.readRistretto(h.eternal, o, w, i, to) }),
		inTurn(otterTTL, func(w, i, to int) bool { return h.readOtter(o, w, i, to) }),
		inTurn(floor, func(w, i, to int) bool { return h.readXsync(o, w, i, to) }),
		inTurn(goRedisCSC, func(w, i, to int) bool { return readVia(h.viaGoRedis, o, w, i, to) }),
		inTurn(rueidisCSC, func(w, i, to int) bool { return readVia(h.viaRueidis, o, w, i, to) }),
		inTurn(goRedisCache, func(w, i, to int) bool { return readVia(h.viaCache, o, w, i, to) }),
	}
}

// inTurn is a contender whose loops each begin where the worker's last one
// ended.
func inTurn(who string, loop func(worker, from, to int) bool) contender {
	next := make([]int, callers)
	return contender{who, func(worker, n int) error {
		from := next[worker]
		next[worker] += n
		if !loop(worker, from, from+n) {
			return errWrong
		}
		return nil
	}}
}

func (h *hitters[V]) readNearbus(o order, w, i, to int) bool {
	mustNotLoad := func(context.Context, string) (v V, err error) { return v, errWrong }
	for ; i < to; i++ {
		if v, err := h.nearbus.Fetch(h.ctx, o.key(w, i), mustNotLoad); err != nil || !h.is(v) {
			return false
		}
	}
	return true
}

func (h *hitters[V]) readRistretto(c *ristretto.Cache[string, V], o order, w, i, to int) bool {
	for ; i < to; i++ {
		if v, ok := c.Get(o.key(w, i)); !ok || !h.is(v) {
			return false
		}
	}
	return true
}

func (h *hitters[V]) readOtter(o order, w, i, to int) bool {
	for ; i < to; i++ {
		if v, ok := h.otter.GetIfPresent(o.key(w, i)); !ok || !h.is(v) {
			return false
		}
	}
	return true
}

func (h *hitters[V]) readXsync(o order, w, i, to int) bool {
	for ; i < to; i++ {
		if v, ok := h.xsync.Load(o.key(w, i)); !ok || !h.is(v) {
			return false
		}
	}
	return true
}

func readVia(get func(key string) error, o order, w, i, to int) bool {
	for ; i < to; i++ {
		if get(o.key(w, i)) != nil {
			return false
		}
	}
	return true
}
