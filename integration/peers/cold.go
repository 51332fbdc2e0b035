package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redis/cache/v9"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	coldNodes = 8
	coldLoad  = 50 * time.Millisecond
)

// cold has many callers on several nodes ask for one key that nobody has.
func cold(e *env) []row {
	fleet := e.name()
	client := e.client()
	var ours, theirs []func(key string, load func()) error
	for range coldNodes {
		users := value(nearcache.New(e.node(fleet, nearcache.NodeOptions{}), "users", nearcache.Options[user]{}))
		ours = append(ours, func(key string, load func()) error {
			u, err := users.Fetch(e.ctx, key, func(context.Context, string) (user, error) { load(); return someUser, nil })
			return expect(u, err)
		})
		c := cache.New(&cache.Options{Redis: e.client(), LocalCache: cache.NewTinyLFU(keySpace, longLife)})
		theirs = append(theirs, func(key string, load func()) error {
			var u user
			err := c.Once(&cache.Item{Ctx: e.ctx, Key: fleet + key, Value: &u, TTL: longLife, Do: func(*cache.Item) (any, error) { load(); return someUser, nil }})
			return expect(u, err)
		})
	}
	loads, waits := []cell{{who: "nearbus"}, {who: goRedisCache}}, []cell{{who: "nearbus"}, {who: goRedisCache}}
	var trips []float64
	for round := range e.rounds {
		began := time.Now()
		must(client.Ping(e.ctx).Err())
		trips = append(trips, millis(time.Since(began)))
		for i, nodes := range [][]func(string, func()) error{ours, theirs} {
			n, p99 := storm(nodes, fmt.Sprintf("cold-%d", round))
			loads[i].samples, waits[i].samples = append(loads[i].samples, float64(n)), append(waits[i].samples, p99)
		}
	}
	slices.Sort(trips)
	limit := millis(coldLoad)*1.1 + 2*trips[len(trips)/2] // the pause is a tenth of the time waited
	return []row{
		{work: "loads", unit: number, cells: loads, targets: []target{{"", 1}}},
		{work: "p99 of those who wait for a load of 50 ms", unit: milliseconds, cells: waits, targets: []target{{"", limit}}},
	}
}

// storm returns how many loads there were and the 99th percentile of the time
// that callers took, in milliseconds.
func storm(nodes []func(string, func()) error, key string) (loads int64, p99 float64) {
	var count atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	took, errs := make([]float64, callers*len(nodes)), make([]error, callers*len(nodes))
	for i, fetch := range nodes {
		for c := range callers {
			at := i*callers + c
			wg.Go(func() {
				<-start
				began := time.Now()
				errs[at] = fetch(key, func() { count.Add(1); time.Sleep(coldLoad) })
				took[at] = millis(time.Since(began))
			})
		}
	}
	close(start)
	wg.Wait()
	for _, err := range errs {
		must(err)
	}
	slices.Sort(took)
	return count.Load(), took[len(took)*99/100]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
