package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
)

const (
	absorbed  = 200_000 // keys in a turn
	batchSize = 1000    // keys in a message
	pipelined = 1000    // messages in a round trip
)

// absorb measures how many invalidations one node takes in, over Redis: as many
// keys to a message as a busy publisher sends, and one key to each. Beside it,
// a subscriber who counts the same messages and does nothing with them.
func absorb(e *env) []row {
	fleet := e.name()
	client := e.client()
	n := e.open(nil, value(redisbus.New(client, redisbus.Options{Channel: fleet})), nearcache.NodeOptions{})
	users := value(nearcache.New(n, "users", nearcache.Options[user]{TTL: longLife}))
	e.fill(keySpace, func(key string) error { _, err := users.Fetch(e.ctx, key, loadUser); return err })
	publisher := value(bus.New(value(redisbus.New(e.client(), redisbus.Options{Channel: fleet})), bus.Options{}))
	e.atEnd(func() { _ = publisher.Close() })
	counting := e.name()
	count := e.count(counting)

	batches, single, raw := cell{who: "nearbus"}, cell{who: "nearbus"}, cell{who: "transport"}
	before := heap()
	sent := n.Stats().Bus.Applied
	heard := func() { e.eventually(func() bool { return n.Stats().Bus.Applied == sent }) }
	for range e.rounds {
		began := time.Now()
		for at := 0; at < absorbed; at += batchSize {
			must(publisher.Publish(e.ctx, invalidations(at, batchSize)...))
		}
		sent += absorbed
		heard()
		batches.samples = append(batches.samples, absorbed/time.Since(began).Seconds())

		began = time.Now()
		e.publish(client, fleet, publisher)
		sent += absorbed
		heard()
		single.samples = append(single.samples, absorbed/time.Since(began).Seconds())

		began = time.Now()
		want := count.Load() + absorbed
		e.publish(client, counting, publisher)
		e.eventually(func() bool { return count.Load() == want })
		raw.samples = append(raw.samples, absorbed/time.Since(began).Seconds())
	}
	if gaps := n.Stats().Bus.Gaps; gaps > 0 {
		must(fmt.Errorf("%d gaps", gaps))
	}
	if after := heap(); after > before+before/10 {
		must(fmt.Errorf("the heap grew from %d to %d bytes", before, after))
	}
	return []row{
		{work: "1,000 keys to a message", unit: perSecond, cells: []cell{batches}, targets: []target{{"", 1e6}}},
		{work: "one key to a message", unit: perSecond, cells: []cell{single, raw}, targets: []target{{"transport", 0.8}}},
	}
}

func invalidations(at, n int) []bus.Invalidation {
	invs := make([]bus.Invalidation, n)
	for i := range invs {
		invs[i] = bus.Invalidation{Op: bus.OpInvalidate, Cache: "users", Key: keys[(at+i)%keySpace]}
	}
	return invs
}

// publish sends messages of one key as fast as Redis takes them.
func (e *env) publish(client *redis.Client, channel string, as *bus.Bus) {
	for at := 0; at < absorbed; at += pipelined {
		_ = value(client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
			for _, inv := range invalidations(at, pipelined) {
				_, payload, _ := as.Announcement(inv)
				pipe.Publish(e.ctx, channel, payload)
			}
			return nil
		}))
	}
}

// count counts the messages of a channel.
func (e *env) count(channel string) *atomic.Int64 {
	var n atomic.Int64
	sub := e.client().Subscribe(e.ctx, channel)
	e.atEnd(func() { _ = sub.Close() })
	_ = value(sub.Receive(e.ctx))
	go func() { // ends when the subscription is closed
		for {
			if _, err := sub.ReceiveMessage(e.ctx); err != nil {
				return
			}
			n.Add(1)
		}
	}()
	return &n
}

// heap returns how many bytes are reachable.
func heap() uint64 {
	var m runtime.MemStats
	for range 2 { // the second finds what finalizers and pools let go
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
