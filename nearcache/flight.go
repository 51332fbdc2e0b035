package nearcache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// flight is one read of the shared tier, and the load after it, for all callers
// of this node who miss a key at the same time.
type flight[V any] struct {
	key   string
	hash  uint64
	stamp near.Stamp // taken before its first byte was requested

	floor   floor       // as it was when the flight began
	refresh *near.Write // that the flight is, if it is one: nobody waits

	loading         bool       // its load has begun; guarded by the shard's lock, like the next two, which its runner reads without
	clock, tagClock uint64     // as they were known when its load began
	loaded          near.Stamp // taken when its load began, which may be long after its read did
	asOf            int64      // when what decides on the record that was used was read, on the clock of the near tier; 0: it was loaded

	// load is nil for a flight that only reads. A caller with a loader may
	// add it while the read is under way. Guarded by the shard's lock until
	// the read is over; then it does not change any more.
	load     loader[V]
	previous *shared.Found // the record that the load is to replace, if it is of use
	ended    recency       // of its load

	looked  gate            // open when the read is over
	lookErr error           // set before looked opens
	head    driver.Revision // of the server that answered the read; likewise
	old     *V              // an old value that the shared tier has; likewise

	done  gate  // open when the flight is over
	value *V    // nil: none; set before done opens, and before looked if found
	err   error // likewise

	absent bool // the result is that there is no value; likewise
	found  bool // the read gave the value; set before looked opens
	fresh  bool // the result is a value that is not an old one; set before done opens

	// bounded says that whoever began the flight wants to know of everything
	// that was written before it.
	bounded    bool
	background bool        // nobody waits: the value that it is to replace is served
	deleted    atomic.Bool // the key turned out to be deleted: old is of no use
}

// gate opens once. Its channel is made for the first who waits: a flight that
// nobody joins needs none. It is guarded by the lock of the shard; whoever runs
// the flight, and alone opens it, may read open without.
type gate struct {
	open bool
	c    chan struct{} // closed when the gate opens; nil if nobody waits
}

func (g *gate) openLocked() {
	g.open = true
	if g.c != nil {
		close(g.c)
	}
}

// answer is what f gives to those who waited for it to end.
func (f *flight[V]) answer() answer[V] {
	switch {
	case f.err != nil || f.value == nil && !f.absent:
		return answer[V]{err: f.err}
	case f.absent:
		return answer[V]{err: ErrNotFound}
	}
	return answer[V]{value: *f.value}
}

// lookAnswer is what the read of f gives to those who waited for no more than it.
// Whether f has an error is known only when f is over.
func (f *flight[V]) lookAnswer() answer[V] {
	switch {
	case f.found && !f.absent:
		return answer[V]{value: *f.value}
	case !f.found && f.lookErr != nil:
		return answer[V]{err: f.lookErr}
	}
	return answer[V]{err: ErrNotFound}
}

// loader is the form of all loaders inside: one key, an Entry.
type loader[V any] func(ctx context.Context, key string) (Entry[V], error)

// flights are the flights of a cache by key. The invariant that the shard locks
// protect: a key has at most one flight that a new caller may join, and that
// flight began after everything that was applied before the caller came.
//
// A shard's lock is taken before that of a stripe of the near tier.
type flights[V any] struct {
	shards [32]flightShard[V]
}

type flightShard[V any] struct {
	mu sync.Mutex // protects m
	m  map[string]*flight[V]
}

func (fs *flights[V]) shard(hash uint64) *flightShard[V] {
	return &fs.shards[hash%uint64(len(fs.shards))]
}

// opens returns a channel that is closed when a gate of f opens, nil if it is open.
func (fs *flights[V]) opens(f *flight[V], g *gate) <-chan struct{} {
	shard := fs.shard(f.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if g.open {
		return nil
	}
	if g.c == nil {
		g.c = make(chan struct{})
	}
	return g.c
}

// removeLocked takes f out, and nobody else's flight.
func (s *flightShard[V]) removeLocked(f *flight[V]) {
	if s.m[f.key] == f {
		delete(s.m, f.key)
	}
}

func (fs *flights[V]) init() {
	for i := range fs.shards {
		fs.shards[i].m = map[string]*flight[V]{}
	}
}

// board returns the flight of the key for a caller who begins now, and whether
// the caller has to run it. A flight that began before an invalidation is not
// joined; it goes on for those who wait for it, and the caller starts another.
// If the value came near meanwhile, board returns nil.
func (c *Cache[V]) board(key string, hash uint64, load loader[V]) (f *flight[V], run bool) {
	return c.boardSince(key, hash, load, 0, nil)
}

// boardSince is board for a caller whom a flight is of use only if it began at
// this time, on the clock of the near tier, at the earliest, and who has looked
// what is near; 0 means that any will do. A flight that it begins is in room, if
// that is not nil, which has a stamp then.
func (c *Cache[V]) boardSince(key string, hash uint64, load loader[V], since int64, room *flight[V]) (f *flight[V], run bool) {
	shard := c.flights.shard(hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	stamped := room != nil
	if f = shard.m[key]; f != nil {
		// One without bounds does not read whether there was a Clear.
		serves := (since == 0 || f.bounded && f.stamp.At() >= since) && c.joinable(f) && c.trusted(f)
		switch fenced := !c.keys.space.Valid(hash, f.stamp) && !c.node.faults.Off(fault.Joins); {
		case fenced: // what f brings does not come near
		case serves:
			if f.load == nil {
				f.load = load
			}
			return f, false
		default:
			c.keys.space.Invalidate(key, hash) // what f brings must not replace what comes now
			stamped = false
		}
	}
	if since == 0 && c.keys.space.Find(key, hash) != nil {
		return nil, false
	}
	if f = room; f == nil {
		f = new(flight[V])
	}
	if !stamped {
		f.stamp = c.node.near.Stamp()
	}
	f.key, f.hash, f.bounded, f.load, f.floor = key, hash, since > 0, load, c.keys.floors.of(hash)
	shard.m[key] = f
	return f, true
}

// trusted reports whether what f brings may be given to a caller who begins now,
// as an entry with its stamp may: while this node cannot hear of writes, an
// invalidation does not end f.
func (c *Cache[V]) trusted(f *flight[V]) bool {
	n := c.node
	switch {
	case n.journal == nil:
		return !n.cut.Load() || n.near.Age(f.stamp) <= n.opts.MaxStaleness
	case n.near.Trusted() || n.opts.ServeStale:
		return true
	case c.keys.tags.InUse.Load():
		// Any partition may have what its tags are judged by.
		return n.near.Age(f.stamp) <= n.opts.MaxStaleness
	}
	return c.keys.space.Trusts(f.stamp, c.keys.partition(f.key), n.near.Now())
}

// beginLoad says that the load of f begins now, when this node knows the clock.
func (c *Cache[V]) beginLoad(f *flight[V], clock uint64) {
	tagClock, _, _ := c.keys.tags.Get()
	f.loaded = c.node.near.Stamp()
	shard := c.flights.shard(f.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	f.loading, f.clock, f.tagClock = true, clock, tagClock
}

// endLook ends the read of f, which did not give the value, and returns the loader
// if there is still something to load. Otherwise f takes itself out: nobody can
// add a loader any more.
func (c *Cache[V]) endLook(f *flight[V], err error) loader[V] {
	shard := c.flights.shard(f.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	f.lookErr = err
	f.looked.openLocked()
	if f.load == nil {
		shard.removeLocked(f)
	}
	return f.load
}

// land ends f, whatever became of it; once more does nothing. The value is in
// the near tier by now, if it may be, so that a caller finds one or the other.
func (c *Cache[V]) land(f *flight[V]) {
	if f.done.open {
		return
	}
	c.forgetOld(f) // before anybody has what is newer
	shard := c.flights.shard(f.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if !f.looked.open {
		f.lookErr = f.err
		f.looked.openLocked()
	}
	shard.removeLocked(f)
	f.done.openLocked()
}

// wait waits for f on behalf of one caller, who may leave before it ends. A
// caller without a loader waits for the read alone.
func (c *Cache[V]) wait(ctx context.Context, f *flight[V], loads bool) answer[V] {
	return c.waitFor(ctx, f, loads, c.opts.FailSafe > 0, c.opts.SoftTimeout)
}

// waitFor is wait for a caller who takes an old value where there is no other,
// or after softly if that is not 0, or who does not.
func (c *Cache[V]) waitFor(ctx context.Context, f *flight[V], loads, takesOld bool, softly time.Duration) answer[V] {
	until := &f.looked
	if loads {
		until = &f.done
	}
	over := c.flights.opens(f, until)
	if over == nil {
		return c.outcome(f, loads, takesOld)
	}
	var soft <-chan time.Time // nil: never
	if takesOld && softly != 0 {
		timer := time.NewTimer(softly)
		defer timer.Stop()
		soft = timer.C
	}
	var looked <-chan struct{} // once soft has fired: the read may show an old value yet
	for {
		select {
		case <-over:
			return c.outcome(f, loads, takesOld)
		case <-ctx.Done():
			return answer[V]{err: ctx.Err()}
		case <-c.node.ctx.Done():
			return answer[V]{err: ErrClosed}
		case <-soft:
			looked = c.flights.opens(f, &f.looked)
		case <-looked:
			looked = nil
		}
		if c.flights.opens(f, until) == nil {
			return c.outcome(f, loads, takesOld)
		}
		if a, ok := c.staleAnswer(f); ok {
			c.keys.gaveOld(errSlow)
			return a
		}
	}
}

// outcome is what a caller gets of a flight that is over, or, without a loader,
// of its read.
func (c *Cache[V]) outcome(f *flight[V], loads, takesOld bool) answer[V] {
	a := f.lookAnswer()
	if loads {
		a = f.answer()
	}
	switch {
	case a.err == nil:
		return c.given(f.key, a)
	case takesOld && !errors.Is(a.err, ErrNotFound): // that there is no value is an answer
		if old, ok := c.staleAnswer(f); ok {
			if loads { // or the shared tier fails, which its own lines tell
				c.keys.gaveOld(a.err)
			}
			return old
		}
	}
	if !loads && c.opts.ErrorsAsMisses {
		a.err = ErrNotFound
	}
	return a
}

// detached is the context of a flight: it has the values of the caller who
// began it, and ends with the node.
type detached struct {
	context.Context // of the node
	values          context.Context
}

// Value asks the node's context first: contexts derived from this one find
// their parent through it, and would start a goroutine each if they found the
// caller's instead.
func (d detached) Value(key any) any {
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.values.Value(key)
}
