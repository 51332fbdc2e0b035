package main

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
)

// busyRate is how many invalidations of other keys arrive each second.
const busyRate = 10_000

// busyHits reads a hot key while invalidations of others arrive, and while none
// do.
func busyHits(e *env) []row {
	fleet := e.name()
	n := e.node(fleet, nearcache.NodeOptions{})
	users := value(nearcache.New(n, "users", nearcache.Options[user]{TTL: longLife}))
	must(users.Set(e.ctx, keys[0], someUser))
	reads := contender{"nearbus", func(_, n int) error {
		for range n {
			u, err := users.Fetch(e.ctx, keys[0], mustNotLoad)
			if err := expect(u, err); err != nil {
				return err
			}
		}
		return nil
	}}
	publish := invalidator(e, fleet)
	cells := []cell{{who: "10,000 invalidations/s"}, {who: "none"}}
	count := e.calibrate(1, reads)
	for range e.rounds {
		for i, busy := range []bool{true, false} {
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				if busy {
					publish(stop)
				}
			}()
			before := n.Stats().Bus.Applied
			took := e.work(1, count, reads)
			if rate := float64(n.Stats().Bus.Applied-before) / took.Seconds(); busy && rate < busyRate/2 {
				must(fmt.Errorf("only %.0f invalidations arrived in a second", rate))
			}
			close(stop)
			<-stopped
			cells[i].samples = append(cells[i].samples, float64(took.Nanoseconds())/float64(count))
		}
	}
	return []row{{work: "struct, hot key", unit: nanoseconds, cells: cells, targets: []target{{"none", 1.2}}}}
}

// invalidator returns a function that sends invalidations of one key each to a
// fleet, at a steady rate.
func invalidator(e *env, fleet string) func(stop <-chan struct{}) {
	client := e.client()
	b := value(bus.New(value(redisbus.New(client, redisbus.Options{Channel: fleet})), bus.Options{}))
	e.atEnd(func() { _ = b.Close() })
	return func(stop <-chan struct{}) {
		began, sent := time.Now(), 0
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			due := int(time.Since(began).Seconds() * busyRate)
			_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
				for ; sent < due; sent++ {
					channel, payload, _ := b.Announcement(bus.Invalidation{
						Op: bus.OpInvalidate, Cache: "users", Key: keys[1+sent%(keySpace-1)],
					})
					pipe.Publish(e.ctx, channel, payload)
				}
				return nil
			})
			if err != nil {
				return // the rate tells
			}
		}
	}
}
