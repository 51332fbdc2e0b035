package main

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
)

// scale does the same with ten times as much of it.
func scale(e *env) []row {
	return append([]row{e.moreKeys(), e.moreCaches()}, e.moreNodes()...)
}

// moreKeys reads keys at random from 100,000 and from 1,000,000. A map without
// a cache around it shows what of the difference is the processor's own cache.
func (e *env) moreKeys() row {
	var contenders []contender
	for _, n := range []int{10 * keySpace, keySpace} {
		node := e.alone(nearcache.NodeOptions{NearBytes: 1 << 30})
		users := value(nearcache.New(node, "users", nearcache.Options[user]{TTL: longLife, Cost: func(user) int64 { return 128 }}))
		bare := xsync.NewMap[string, user]()
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("user:%011d", i)
			_ = value(users.Fetch(e.ctx, names[i], loadUser))
			bare.Store(names[i], someUser)
		}
		step := 7919 // no two reads in a row are neighbours
		contenders = append(contenders,
			inTurn("nearbus, "+thousands(float64(n)), func(_, i, to int) bool {
				for ; i < to; i++ {
					if u, err := users.Fetch(e.ctx, names[i*step%n], mustNotLoad); err != nil || !isUser(u) {
						return false
					}
				}
				return true
			}),
			inTurn("xsync.Map, "+thousands(float64(n)), func(_, i, to int) bool {
				for ; i < to; i++ {
					if u, ok := bare.Load(names[i*step%n]); !ok || !isUser(u) {
						return false
					}
				}
				return true
			}))
	}
	cells := e.compare(1, contenders...)
	return row{work: "a hit, 10 x the keys, each in turn", unit: nanoseconds, cells: cells, targets: []target{{cells[2].who, 1.3}}}
}

// moreCaches reads 100 values that are in 100 caches, and in 10.
func (e *env) moreCaches() row {
	var contenders []contender
	const values = 100
	for _, n := range []int{100, 10} {
		node := e.alone(nearcache.NodeOptions{})
		caches := make([]*nearcache.Cache[user], n)
		for i := range caches {
			caches[i] = value(nearcache.New(node, "users"+strconv.Itoa(i), nearcache.Options[user]{TTL: longLife}))
		}
		for i := range values {
			_ = value(caches[i%n].Fetch(e.ctx, keys[i], loadUser))
		}
		contenders = append(contenders, inTurn(strconv.Itoa(n)+" caches", func(_, i, to int) bool {
			for ; i < to; i++ {
				if u, err := caches[i%n].Fetch(e.ctx, keys[i%values], mustNotLoad); err != nil || !isUser(u) {
					return false
				}
			}
			return true
		}))
	}
	return row{work: "a hit, 10 x the caches, each in turn", unit: nanoseconds, cells: e.compare(1, contenders...), targets: []target{{"10 caches", 1.3}}}
}

// moreNodes measures what it costs to deliver an invalidation to a node, with
// few and with many of them in one process, and counts goroutines.
func (e *env) moreNodes() []row {
	var groups []*fleet
	var cells, goroutines []cell
	for _, n := range []int{20, 2} {
		before := runtime.NumGoroutine()
		f := e.fleet(n)
		groups = append(groups, f)
		who := strconv.Itoa(n) + " nodes"
		cells = append(cells, cell{who: who})
		goroutines = append(goroutines, cell{who: who, samples: []float64{float64((runtime.NumGoroutine() - before) / n)}})
	}
	for range e.rounds {
		for i, f := range groups {
			cells[i].samples = append(cells[i].samples, f.deliver(e))
		}
	}
	return []row{
		{work: "an invalidation delivered, 10 x the nodes", unit: nanoseconds, cells: cells, targets: []target{{cells[1].who, 1.3}}},
		{work: "goroutines for each node", unit: number, cells: goroutines, targets: []target{{goroutines[1].who, 1}}},
	}
}

// fleet is nodes in this process, and somebody who tells them.
type fleet struct {
	nodes     []*nearcache.Node
	publisher *bus.Bus
}

func (e *env) fleet(n int) *fleet {
	f, hub := &fleet{}, membus.NewHub()
	for range n {
		node := e.open(nil, hub.Join(), nearcache.NodeOptions{NearBytes: 1 << 20})
		_ = value(nearcache.New(node, "users", nearcache.Options[user]{}))
		f.nodes = append(f.nodes, node)
	}
	f.publisher = value(bus.New(hub.Join(), bus.Options{}))
	e.atEnd(func() { _ = f.publisher.Close() })
	return f
}

// deliver returns how many nanoseconds an invalidation takes for each node.
func (f *fleet) deliver(e *env) float64 {
	const messages, burst = 20_000, 500 // as many as wait in a node's queue at most
	began := time.Now()
	for range messages / burst {
		want := f.nodes[0].Stats().Bus.Applied + burst
		for k := range burst {
			must(f.publisher.Publish(e.ctx, bus.Invalidation{Op: bus.OpInvalidate, Cache: "users", Key: keys[k]}))
		}
		for _, n := range f.nodes {
			for n.Stats().Bus.Applied != want {
				runtime.Gosched()
			}
		}
	}
	return float64(time.Since(began).Nanoseconds()) / messages / float64(len(f.nodes))
}
