package main

import (
	"runtime"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// idle measures what a node costs that nobody asks anything, its shared tier and
// its bus in Redis. Beside it, a ticker of 10 ms, which its clock is while it is read.
func idle(e *env) []row {
	core := []cell{{who: "nearbus"}, {who: "a ticker"}}
	bytes := []cell{{who: "nearbus"}, {who: "a ticker"}}
	spend := func(i int) {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began, spent := time.Now(), e.processors()
		time.Sleep(4 * time.Second)
		spent = e.processors() - spent
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		core[i].samples = append(core[i].samples, 100*spent/float64(took.Nanoseconds()))
		bytes[i].samples = append(bytes[i].samples, float64(after.TotalAlloc-before.TotalAlloc)/took.Seconds())
	}
	const times = 3
	for range times {
		ticker := time.NewTicker(10 * time.Millisecond)
		stop := make(chan struct{})
		go func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				case <-ticker.C:
				}
			}
		}()
		spend(1)
		close(stop)
		ticker.Stop()
	}
	n := e.node(e.name(), nearcache.NodeOptions{})
	_ = value(nearcache.New(n, "users", nearcache.Options[user]{}))
	e.server = nil // the process alone
	time.Sleep(2 * time.Second)
	for range times {
		spend(0)
	}
	return []row{
		{work: "of a core", unit: percentSpent, cells: core, targets: []target{{"", 0.5}}},
		{work: "allocated in a second", unit: bytesEach, cells: bytes, targets: []target{{"", 20_000}}},
	}
}
