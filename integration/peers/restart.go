package main

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

const (
	restartNodes  = 5
	restartRate   = 500 // reads of a node each second
	restartEvery  = 3 * time.Second
	restartBefore = 100_000 // reads of a node before its restart
	restartList   = 20_000  // keys
	restartTrip   = time.Millisecond

	emptyFor  = 11 * time.Second
	emptyRate = 400 // reads of a node each second
	emptyLoad = 20 * time.Millisecond
	emptyMost = 4 // loads of a node at a time, where they are limited
)

// spans are from when on a node takes requests.
var spans = [...]time.Duration{time.Second, 10 * time.Second, time.Minute}

// restart has the nodes of two fleets restart one after the other, while all are read, and then
// two fleets begin, each at once, over an empty Redis.
func restart(e *env) []row {
	addr := e.far(e.redis(), restartTrip)
	return append(rolling(e, addr), empty(e, addr)...)
}

// rolling compares nodes that begin with an empty near tier with nodes that are warmed.
func rolling(e *env, addr string) []row {
	fleets := []*restarted{newRestarted(e, addr, nearcache.Options[user]{TTL: longLife}), newRestarted(e, addr, nearcache.Options[user]{TTL: longLife})}
	for i, f := range fleets {
		f.warms = i == 1
		f.fill()
		together(f.slots, func(s *slot) { s.open(); s.history() })
	}
	together(fleets, func(f *restarted) { together(f.slots, (*slot).serve) })
	stop := readAll(fleets, restartRate)
	before := slices.Concat(fleets[0].serving(), fleets[1].serving())
	time.Sleep(spans[1] + time.Second)
	for n := range restartNodes {
		next := time.After(restartEvery)
		together(fleets, func(f *restarted) { f.slots[n].replace() })
		<-next
	}
	time.Sleep(spans[2] + time.Second) // the last one began before next
	stop()
	if n := fleets[0].failures() + fleets[1].failures(); n > 0 {
		must(fmt.Errorf("%d reads failed", n))
	}
	return restartRows(before, fleets[0].serving(), fleets[1].serving())
}

func restartRows(before, without, warmed []*served) (rows []row) {
	all := []struct {
		who   string
		nodes []*served
	}{{"not restarted", before}, {"restarted", without}, {"restarted and warmed", warmed}}
	add := func(work string, in unit, of func(*served) float64) {
		r := row{work: work, unit: in}
		for _, some := range all {
			c := cell{who: some.who}
			for _, s := range some.nodes {
				c.samples = append(c.samples, of(s))
			}
			r.cells = append(r.cells, c)
		}
		rows = append(rows, r)
	}
	for i, name := range []string{"first second", "first 10 s", "first minute"} {
		if spans[i] == spans[2] {
			all = all[1:] // the others did not last as long
		}
		add(name+": reads that waited for Redis", number, func(s *served) float64 { return float64(s.missed[i].Load()) })
		add(name+": p50", milliseconds, func(s *served) float64 { return s.percentile(i, 50) })
		add(name+": p99", milliseconds, func(s *served) float64 { return s.percentile(i, 99) })
	}
	add("first minute: calls of the source", number, func(s *served) float64 { return float64(s.cache.Stats().Loads.Keys) })
	add("keys that Warm read", number, func(s *served) float64 { return float64(s.warm.Warmed) })
	add("time that Warm took", milliseconds, func(s *served) float64 { return millis(s.took) })
	return rows
}

// empty compares fleets that begin at once, with nothing in Redis.
func empty(e *env, addr string) (rows []row) {
	fleets := []*restarted{
		newRestarted(e, addr, nearcache.Options[user]{TTL: longLife}),
		newRestarted(e, addr, nearcache.Options[user]{TTL: longLife, MaxConcurrentLoads: emptyMost}),
	}
	for _, f := range fleets {
		together(f.slots, func(s *slot) { s.open(); s.serve() })
		stop := readAll([]*restarted{f}, emptyRate)
		time.Sleep(emptyFor)
		stop()
	}
	row := func(work string, in unit, of func(*restarted) float64) {
		rows = append(rows, row{work: work, unit: in, cells: []cell{
			{who: "no limit", samples: []float64{of(fleets[0])}}, {who: "MaxConcurrentLoads 4", samples: []float64{of(fleets[1])}},
		}})
	}
	row("reads that failed", number, func(f *restarted) float64 { return float64(f.failures()) })
	row("different keys that were read", number, func(f *restarted) float64 { return float64(f.source.keys()) })
	row("calls of the source", number, func(f *restarted) float64 { return float64(f.source.calls.Load()) })
	row("calls of the source at a time, at most", number, func(f *restarted) float64 { return float64(f.source.most.Load()) })
	for i, name := range []string{"first second", "first 10 s"} {
		row(name+": p50", milliseconds, func(f *restarted) float64 { return f.percentile(i, 50) })
		row(name+": p99", milliseconds, func(f *restarted) float64 { return f.percentile(i, 99) })
	}
	return rows
}

// restarted is a fleet whose nodes restart.
type restarted struct {
	*env

	addr, name string
	opts       nearcache.Options[user]
	warms      bool
	source     source
	slots      []*slot
}

func newRestarted(e *env, addr string, opts nearcache.Options[user]) *restarted {
	f := &restarted{env: e, addr: addr, name: e.name(), opts: opts}
	for i := range restartNodes {
		f.slots = append(f.slots, &slot{fleet: f, number: i})
	}
	return f
}

// fill puts all keys into the shared tier.
func (f *restarted) fill() {
	users := value(nearcache.New(f.node(f.name, nearcache.NodeOptions{NearBytes: 1 << 20}), "users", f.opts))
	for part := range slices.Chunk(keys, batchSize) {
		all := make(map[string]user, len(part))
		for _, key := range part {
			all[key] = someUser
		}
		must(users.SetMany(f.ctx, all))
	}
}

// together does something with all at once, and fails if that does.
func together[T any](all []T, do func(T)) {
	var wg sync.WaitGroup
	failures := make(chan any, len(all))
	for _, one := range all {
		wg.Go(func() {
			defer func() {
				if f := recover(); f != nil {
					failures <- f
				}
			}()
			do(one)
		})
	}
	wg.Wait()
	select {
	case f := <-failures:
		panic(f)
	default:
	}
}

// readAll has all nodes of the fleets read until stop is called.
func readAll(fleets []*restarted, rate float64) (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	for _, f := range fleets {
		for _, s := range f.slots {
			wg.Go(func() { s.read(over, rate) })
		}
	}
	return func() { close(over); wg.Wait() }
}

// serving returns what serves in each slot.
func (f *restarted) serving() (all []*served) {
	for _, s := range f.slots {
		all = append(all, s.now.Load())
	}
	return all
}

// failures returns how many reads failed.
func (f *restarted) failures() (n int) {
	for _, s := range f.serving() {
		s.mu.Lock()
		n += len(s.failed)
		s.mu.Unlock()
	}
	return n
}

// percentile is that of all nodes together.
func (f *restarted) percentile(span, percent int) float64 {
	var all []float64
	for _, s := range f.serving() {
		all = append(all, s.within(span)...)
	}
	return percentile(all, percent)
}

// slot is the place of a node in its fleet.
type slot struct {
	fleet  *restarted
	number int
	next   *served // open, and not serving yet
	now    atomic.Pointer[served]
}

// served is a node that takes requests, and how it did.
type served struct {
	cache *nearcache.Cache[user]
	end   func()
	warm  nearcache.WarmResult
	took  time.Duration // by Warm
	began time.Time

	missed [len(spans)]atomic.Uint64 // within each span

	mu     sync.Mutex
	reads  []oneRead // protected by mu
	failed []error   // likewise
}

// oneRead is when a read began, since the node did, and how long it took in milliseconds.
type oneRead struct {
	at   time.Duration
	took float64
}

// open opens a node.
func (s *slot) open() {
	f := s.fleet
	client := f.clientOf(f.addr, callers)
	tier := value(shared.New(value(redisstore.New(client, redisstore.Options{Prefix: f.name})), shared.Options{Timeout: patience}))
	n, end := f.start(tier, value(redisbus.New(client, redisbus.Options{Channel: f.name})), nearcache.NodeOptions{})
	f.eventually(func() bool { return n.Stats().Journal.Rounds > 0 })
	s.next = &served{cache: value(nearcache.New(n, "users", f.opts)), end: end}
	f.atEnd(end)
}

// serve has the node that was opened take requests.
func (s *slot) serve() {
	node := s.next
	node.began = time.Now()
	history := node.cache.Stats().Reads.Misses
	for i, span := range spans {
		time.AfterFunc(span, func() { node.missed[i].Store(node.cache.Stats().Reads.Misses - history) })
	}
	s.now.Store(node)
}

// history has the node read what it read before all this.
func (s *slot) history() {
	draw := users(int64(1000 + s.number))
	asked := make(chan string, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for key := range asked {
				_, _ = s.next.cache.Get(s.fleet.ctx, key)
			}
		})
	}
	for range restartBefore {
		asked <- draw()
	}
	close(asked)
	wg.Wait()
}

// replace ends the node and opens another one in its place.
func (s *slot) replace() {
	old := s.now.Swap(nil)
	hottest := old.cache.HottestKeys(restartList)
	old.end()
	s.open()
	if s.fleet.warms {
		began := time.Now()
		s.next.warm = value(s.next.cache.Warm(s.fleet.ctx, hottest, nearcache.WarmOptions{}))
		s.next.took = time.Since(began)
	}
	s.serve()
}

// read reads at a steady rate, whether earlier reads have ended or not.
func (s *slot) read(over <-chan struct{}, rate float64) {
	draw, began, sent := users(int64(s.number)), time.Now(), 0
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Millisecond):
		}
		for due := int(time.Since(began).Seconds() * rate); sent < due; sent++ {
			if node, key := s.now.Load(), draw(); node != nil {
				wg.Go(func() { s.readOne(node, key) })
			}
		}
	}
}

func (s *slot) readOne(node *served, key string) {
	began := time.Now()
	u, err := node.cache.Fetch(s.fleet.ctx, key, func(context.Context, string) (user, error) {
		s.fleet.source.ask(key)
		return someUser, nil
	})
	took := time.Since(began)
	node.mu.Lock()
	defer node.mu.Unlock()
	node.reads = append(node.reads, oneRead{began.Sub(node.began), float64(took.Nanoseconds()) / 1e6})
	if err := expect(u, err); err != nil {
		node.failed = append(node.failed, err)
	}
}

// within returns how long the reads took that began within a span, in milliseconds.
func (s *served) within(span int) (took []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reads {
		if r.at < spans[span] {
			took = append(took, r.took)
		}
	}
	return took
}

func (s *served) percentile(span, percent int) float64 { return percentile(s.within(span), percent) }

func percentile(all []float64, percent int) float64 {
	if len(all) == 0 {
		must(fmt.Errorf("no reads to compare"))
	}
	slices.Sort(all)
	return all[min(len(all)*percent/100, len(all)-1)]
}

// source is asked for what nobody has.
type source struct {
	calls, running, most atomic.Int64
	asked                sync.Map
}

func (s *source) ask(key string) {
	s.calls.Add(1)
	s.asked.Store(key, nil)
	running := s.running.Add(1)
	for most := s.most.Load(); running > most && !s.most.CompareAndSwap(most, running); most = s.most.Load() {
	}
	time.Sleep(emptyLoad)
	s.running.Add(-1)
}

func (s *source) keys() (n int) {
	s.asked.Range(func(any, any) bool { n++; return true })
	return n
}

// users returns what draws keys as users do, from the same distribution for every seed.
func users(seed int64) func() string {
	z := rand.NewZipf(rand.New(rand.NewSource(seed)), 1.01, 1, keySpace-1)
	places := rand.New(rand.NewSource(2)).Perm(keySpace)
	return func() string { return keys[places[z.Uint64()]] }
}
