package main

import (
	"sync"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/nearbus/nearbus/nearcache"
)

// freshTries is how many values a turn sets, and reads at once.
const freshTries = 1000

// fresh sets values and reads each at once, while nobody else does anything and
// while two others write as fast as they can, which keeps the queue of
// ristretto full.
func fresh(e *env) []row {
	n := e.alone(nearcache.NodeOptions{})
	users := value(nearcache.New(n, "users", nearcache.Options[user]{TTL: longLife}))
	raw := value(ristretto.NewCache(&ristretto.Config[string, user]{NumCounters: 10 * keySpace, MaxCost: keySpace, BufferItems: 64, IgnoreInternalCost: true}))
	e.atEnd(raw.Close)
	fill := func(key string) error {
		_, err := users.Fetch(e.ctx, key, loadUser)
		return err
	}
	isNear := func(key string) bool {
		u, err := users.Fetch(e.ctx, key, mustNotLoad)
		return expect(u, err) == nil
	}
	ways := []way{
		{fill, isNear},
		{
			func(key string) error { raw.SetWithTTL(key, someUser, 1, longLife); return nil },
			func(key string) bool { _, ok := raw.Get(key); return ok },
		},
	}
	var rows []row
	for _, busy := range []bool{false, true} {
		work := "quiet"
		if busy {
			work = "beside two others who fill without pause"
		}
		cells := []cell{{who: "nearbus"}, {who: "ristretto"}}
		for round := range e.rounds {
			tries := keys[round*freshTries : (round+1)*freshTries]
			must(users.Invalidate(e.ctx, tries...))
			raw.Clear()
			for i := range ways {
				cells[i].samples = append(cells[i].samples, 100*float64(ways[i].found(tries, busy))/freshTries)
			}
		}
		rows = append(rows, row{work: work, unit: percent, cells: cells, targets: []target{{"", 100}}})
	}
	return rows
}

// way is how somebody sets a value and looks whether it is there.
type way struct {
	set  func(key string) error
	read func(key string) bool
}

// found returns how many of the keys are there right after they were set.
func (w *way) found(tries []string, busy bool) (n int) {
	if busy {
		defer flood(w.set)()
	}
	for _, key := range tries {
		must(w.set(key))
		if w.read(key) {
			n++
		}
	}
	return n
}

// flood has two goroutines set other keys without pause.
func flood(set func(key string) error) (stop func()) {
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := keySpace / 2; ; i++ {
				select {
				case <-stopped:
					return
				default:
					_ = set(keys[keySpace/2+(2*i+w)%(keySpace/2)]) // reads tell
				}
			}
		})
	}
	return func() { close(stopped); wg.Wait() }
}
