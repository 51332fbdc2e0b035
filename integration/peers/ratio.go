package main

import (
	"fmt"
	"math/rand"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	traceReads = 1_000_000
	entryCost  = 320 + 16 + 64 // of a near entry: overhead, key and value
)

// ratio reads through caches that hold a part of the keys, as popular as Zipf
// has them, and counts hits.
func ratio(e *env) []row {
	var rows []row
	for _, share := range []int{1, 10} {
		size := keySpace * share / 100
		cells := []cell{{who: "nearbus"}, {who: "ristretto"}, {who: "otter"}}
		for round := range max(1, e.rounds/2) {
			z := rand.NewZipf(rand.New(rand.NewSource(int64(round))), 1.01, 1, keySpace-1)
			trace := make([]uint32, traceReads)
			for i := range trace {
				trace[i] = uint32(z.Uint64())
			}
			for i, open := range []func(size int) (func(string) bool, func()){e.traceNear, traceRistretto, traceOtter} {
				read, end := open(size)
				hits := 0
				for at, k := range trace {
					if read(keys[k]) && at >= traceReads/5 { // warm by then
						hits++
					}
				}
				end()
				cells[i].samples = append(cells[i].samples, 100*float64(hits)/(traceReads*4/5))
			}
		}
		rows = append(rows, row{
			work: fmt.Sprintf("room for %d %% of the keys", share), unit: percent, cells: cells,
			targets: []target{{"ristretto", 0.98}},
		})
	}
	return rows
}

func (e *env) traceNear(size int) (read func(string) bool, end func()) {
	n, end := e.openAlone(nearcache.NodeOptions{NearBytes: int64(size) * entryCost})
	c := value(nearcache.New(n, "values", nearcache.Options[user]{TTL: longLife, Cost: func(user) int64 { return 64 }}))
	return func(key string) bool {
		before := c.Stats().Reads.Misses
		_ = value(c.Fetch(e.ctx, key, loadUser))
		return c.Stats().Reads.Misses == before
	}, end
}

func traceRistretto(size int) (read func(string) bool, end func()) {
	c := value(ristretto.NewCache(&ristretto.Config[string, user]{NumCounters: 10 * int64(size), MaxCost: int64(size), BufferItems: 64, IgnoreInternalCost: true}))
	return func(key string) bool {
		_, ok := c.Get(key)
		if !ok {
			c.SetWithTTL(key, someUser, 1, longLife)
		}
		return ok
	}, c.Close
}

func traceOtter(size int) (read func(string) bool, end func()) {
	c := otter.Must(&otter.Options[string, user]{MaximumSize: size, ExpiryCalculator: otter.ExpiryWriting[string, user](longLife)})
	return func(key string) bool {
		_, ok := c.GetIfPresent(key)
		if !ok {
			c.Set(key, someUser)
		}
		return ok
	}, func() {}
}
