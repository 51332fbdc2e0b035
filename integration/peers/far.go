package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

const (
	farKeys = 3_000
	farTurn = 300 * time.Millisecond // of callers each of whom waits for round trips
)

// distant is a server, by a cache that keeps nothing near and by the client alone, with a
// connection for each caller.
type distant struct {
	*env

	trip   time.Duration
	cache  *nearcache.Cache[[]byte]
	client *redis.Client
	prefix string
}

func newDistant(e *env, trip time.Duration) *distant {
	addr, fleet := e.far(e.redis(), trip), e.name()
	client := e.clientOf(addr, callers)
	transport := value(redisbus.New(client, redisbus.Options{Channel: fleet}))
	n := e.nodeOn(client, fleet, transport, nearcache.NodeOptions{NearBytes: 64 << 10})
	return &distant{
		env: e, trip: trip, client: e.clientOf(addr, callers), prefix: e.name() + ":",
		cache: value(nearcache.New(n, "far", nearcache.Options[[]byte]{NearTTL: time.Nanosecond, Codec: shared.Raw})),
	}
}

// far reads and writes what is not in memory, by many callers, over a round trip that a
// relay makes.
func far(e *env) (rows []row) {
	e.turn = max(e.turn, farTurn)
	for _, trip := range []time.Duration{5 * time.Millisecond, time.Millisecond / 2} {
		d := newDistant(e, trip)
		for _, size := range []int{256, 4 << 10, 16 << 10, 60 << 10} {
			rows = append(rows, d.row("read", size, d.reads(size), 1))
		}
	}
	for _, w := range []struct {
		trip time.Duration
		size int
	}{{time.Millisecond, 256}, {5 * time.Millisecond, 256}, {5 * time.Millisecond, 60 << 10}} {
		d := newDistant(e, w.trip)
		rows = append(rows, d.row("write", w.size, d.writes(w.size), 0.9))
	}
	return rows
}

// row says what both did; ours is to be at least so much of the other.
func (d *distant) row(what string, size int, contenders []contender, limit float64) row {
	work := fmt.Sprintf("%s of %d B, %v", what, size, d.trip)
	if size >= 1<<10 {
		work = fmt.Sprintf("%s of %d KiB, %v", what, size>>10, d.trip)
	}
	cells := rates(d.compare(callers, contenders...))
	return row{work: work, unit: perSecond, cells: cells, targets: []target{{contenders[1].who, limit}}}
}

func (d *distant) reads(size int) []contender {
	text := make([]byte, size)
	d.fill(farKeys, func(key string) error {
		return errors.Join(d.cache.Set(d.ctx, key, text), d.client.Set(d.ctx, d.prefix+key, text, longLife).Err())
	})
	check := func(got []byte, err error) error {
		if err == nil && len(got) != size {
			err = errWrong
		}
		return err
	}
	return []contender{
		each("nearbus", func(i int) error {
			return check(d.cache.Fetch(d.ctx, keys[i%farKeys], func(context.Context, string) ([]byte, error) { return nil, errWrong }))
		}),
		each("go-redis", func(i int) error { return check(d.client.Get(d.ctx, d.prefix+keys[i%farKeys]).Bytes()) }),
	}
}

func (d *distant) writes(size int) []contender {
	text := make([]byte, size)
	return []contender{
		each("nearbus", func(i int) error { return d.cache.Set(d.ctx, keys[i%farKeys], text) }),
		each("go-redis", func(i int) error {
			_, err := d.client.Pipelined(d.ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(d.ctx, d.prefix+keys[i%farKeys], text, longLife)
				pipe.Publish(d.ctx, d.prefix, keys[i%farKeys])
				return nil
			})
			return err
		}),
	}
}
