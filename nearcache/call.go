package nearcache

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// call is one read of the shared tier, and the load after it, for all callers of this
// node who miss a key at the same time.
//
// One goroutine at a time runs a call: that of the caller who began it, and after the
// read another one. It writes the fields below state. Others read value, err, readErr
// and head once the state tells that they do not change any more.
type call[V any] struct {
	key   string
	hash  uint64
	stamp near.Stamp      // taken before the first byte was requested
	floor coherence.Floor // as it was when the call began

	bounded bool        // whoever began the call wants to know of everything that was written before
	ends    bool        // likewise, how long the record lives yet; set before the call is run
	told    *telling    // likewise, that everybody hears of what is loaded, see Refresh; nil otherwise
	refresh *near.Write // of a refresh ahead, whose callers are served the old value; nil for other calls

	// load is nil for a call that only reads. A caller with a loader may add it while
	// the read is under way. Guarded by the shard's lock until the read is over; then it
	// does not change any more.
	load loader[V]

	rival atomic.Bool // another call for the key overlaps, and either may bring its result near

	state    state         // guarded by the shard's lock; the goroutine that runs the call reads it without
	readOver chan struct{} // closed when the read is over; nil if nobody waits for it; guarded by the shard's lock
	allOver  chan struct{} // likewise, when the call is over

	clock, tagClock uint64     // as they were known when the load began; do not change after that
	loaded          near.Stamp // taken when the load began, which may be long after the read did

	absence error             // why the record read is no answer; nil if none was read; likewise
	readErr error             // why the read failed; does not change once the read is over
	head    driver.Revision   // of the server that answered the read; likewise
	found   *shared.Found     // the record that is to be replaced; nil if none was read
	stale   atomic.Pointer[V] // an old value that the shared tier has; nil if there is none, or it is of no use any more

	value *V    // the result; does not change once the call is over, like the next three
	err   error // why there is no value; ErrNotFound if there is none
	asOf  int64 // when what decides on the record that was used was read, on the clock of the near tier; 0: the value was loaded

	span *telemetry.OpenSpan // of the load; nil if there is none

	one     [1]*call[V] // the call itself, for batches of it alone
	keyRoom [1]string   // of a read of it alone, for its key

	soon coherence.Hurried // of its read, if there is a loader,
	next coherence.Hurried // and of what comes before and after the load
}

// state is how far a call is. These are the changes that there are:
//
//	reading -> found                     the read gave the result
//	reading -> missed -> loading -> over
//	reading -> missed -> over            there is no loader, or another node's load gave the result
//	reading -> over                      the read panicked
type state uint8

const (
	stateReading state = iota // the shared tier is read; callers may add a loader
	stateMissed               // the read gave no result
	stateLoading              // the load has begun: what it rests on is known
	stateFound                // the call is over, with what the read gave
	stateOver                 // the call is over, in any other way
)

// ended reports whether the call is over.
func (s state) ended() bool { return s >= stateFound }

// callTable has the calls of a cache by key. The invariant that the shard locks protect: a
// key has at most one call that a new caller may join, and that call began after
// everything that was applied before the caller came.
//
// A shard's lock is taken before that of a stripe of the near tier. The shards are made with
// the first call: most of many caches may be idle.
type callTable[V any] struct {
	shards atomic.Pointer[[32]callShard[V]]
}

type callShard[V any] struct {
	mu sync.Mutex // protects m, and what calls say
	m  map[string]*call[V]
}

func (cs *callTable[V]) shard(hash uint64) *callShard[V] {
	shards := cs.shards.Load()
	if shards == nil {
		shards = cs.begin()
	}
	return &shards[hash%uint64(len(shards))]
}

// begin makes the shards, unless another goroutine just did.
func (cs *callTable[V]) begin() *[32]callShard[V] {
	shards := new([32]callShard[V])
	for i := range shards {
		shards[i].m = map[string]*call[V]{}
	}
	cs.shards.CompareAndSwap(nil, shards)
	return cs.shards.Load()
}

// pipeline answers reads that are no hits: it reads the shared tier, gets leases, loads, and
// stores what was loaded, for all callers of a key at once.
type pipeline[V any] struct {
	values[V]
	calls callTable[V]

	// What loads for reads without a loader of their own; nil if nothing does. Without
	// several, several keys are loaded one by one.
	single, several loader[V]
}

// joinOrStart returns the call of the key for a caller who begins now and has looked what
// is near, and whether the caller has to run it. since is when a call must have begun at
// the earliest, on the clock of the near tier, to be of use; 0 means that any will do. A
// call that began before an invalidation is not joined; it goes on for those who wait for
// it, and the caller starts another one. That is in room, if room is not nil, which has a
// stamp then. If the value came near meanwhile, the result is nil.
func (c *pipeline[V]) joinOrStart(key string, hash uint64, load loader[V], since int64, room *call[V]) (f *call[V], mine bool) {
	shard := c.calls.shard(hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	stamped := room != nil
	var rival *call[V]
	if f = shard.m[key]; f != nil {
		// One without bounds does not read whether there was a Clear.
		serves := (since == 0 || f.bounded && f.stamp.At() >= since) && c.joinable(f) && c.trusted(f)
		switch valid := c.keys.Space.Valid(hash, f.stamp) || c.node.Faults.Off(fault.Joins); {
		case !valid: // what f brings may come near yet, if it was another tag that was invalidated, say
			if !c.keys.Space.Fenced(hash, f.stamp) {
				rival = f
			}
		case serves:
			if f.load == nil {
				f.load = load
			}
			return f, false
		default:
			c.keys.Space.Invalidate(key, hash) // what f brings must not replace what comes now
			stamped = false
		}
	}
	if since == 0 && c.keys.Space.Find(key, hash) != nil {
		return nil, false
	}
	if f = room; f == nil {
		f = new(call[V])
	}
	if !stamped {
		f.stamp = c.node.Near.Stamp()
	}
	if rival != nil {
		rival.rival.Store(true)
		f.rival.Store(true)
	}
	f.one[0] = f
	f.key, f.hash, f.bounded, f.load, f.floor = key, hash, since > 0, load, c.keys.Floors.Of(hash)
	shard.m[key] = f
	return f, true
}

// joinable reports whether a caller who begins now may be given what f brings. It is
// arrive for what is still to come, wayJoined: what f rests on is compared with the same
// numbers. The caller compares it with the marks next. The lock of the shard of f must be
// held.
func (c *pipeline[V]) joinable(f *call[V]) bool {
	off := c.node.Faults
	if off.Off(fault.Joins) {
		return true
	}
	if p := c.keys.Floors.Of(f.hash); p.Holds() && f.stamp.At() <= p.At && !off.Off(fault.Floors) {
		return false
	}
	if f.state != stateLoading {
		return true // it is yet to be seen what it finds
	}
	clock, _, _ := c.keys.Clock.Get()
	if f.clock < clock && !off.Off(fault.Clock) {
		return false
	}
	return f.tagClock >= c.keys.Tags.Ended() || off.Off(fault.Watermarks) // its tags are not known yet
}

// trusted reports whether what f brings may be given to a caller who begins now, as an
// entry with its stamp may: while this node cannot hear of writes, an invalidation does
// not end f.
func (c *pipeline[V]) trusted(f *call[V]) bool {
	n := c.node
	switch {
	case n.Journal == nil:
		return !n.Cut.Load() || n.Near.Age(f.stamp) <= n.Options.MaxStaleness
	case n.Near.Trusted() || n.Options.ServeStale:
		return true
	case c.keys.Tags.InUse.Load():
		// Any partition may have what its tags are judged by.
		return n.Near.Age(f.stamp) <= n.Options.MaxStaleness
	}
	return c.keys.Space.Trusts(f.stamp, c.keys.Partition(f.key), n.Near.Now())
}

// finish ends f, whatever became of it; once more does nothing. err is why there is no
// value, if the value of f is not the result. The value is in the near tier by now, if it
// may be, so that a caller finds one or the other.
func (c *pipeline[V]) finish(f *call[V], err error) {
	if f.state.ended() {
		return
	}
	if err != nil {
		f.err = err
	}
	news := f.refresh == nil && (f.value != nil || errors.Is(f.err, ErrNotFound))
	if news && c.opts.Stale.For > 0 && !c.node.Faults.Off(fault.PassedNews) {
		// Before anybody has what is newer than an old value, which later callers must not
		// get. A value that came near has taken its place already.
		c.keys.Space.DropStale(f.key, f.hash)
	}
	to := stateOver
	if f.state == stateReading {
		if f.readErr = err; err == nil {
			to = stateFound
		}
	}
	c.advance(f, to)
}

// advance changes the state of f, wakes those who wait for that, and takes f out if it is
// over. It is over also if the read gave nothing and there is no loader: nobody can add
// one any more.
func (c *pipeline[V]) advance(f *call[V], to state) {
	shard := c.calls.shard(f.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if to == stateMissed && f.load == nil {
		to = stateOver
	}
	f.state = to
	if (to == stateMissed || to.ended()) && f.rival.Load() && !c.node.Faults.Off(fault.PassedNews) {
		c.keys.Space.Fence(f.hash) // whoever began before may bring what is older than the result, or than a miss
	}
	if f.readOver != nil {
		close(f.readOver)
		f.readOver = nil
	}
	if !to.ended() {
		return
	}
	if f.allOver != nil {
		close(f.allOver)
		f.allOver = nil
	}
	if shard.m[f.key] == f { // and not the call of somebody else
		delete(shard.m, f.key)
	}
}

// progress returns the state of f, and a channel that is closed once its read is over, or
// all of f with loads; nil if that is so. A read that was given up for a load says nothing yet.
func (cs *callTable[V]) progress(f *call[V], loads bool) (state, <-chan struct{}) {
	shard := cs.shard(f.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	at := &f.readOver
	if loads = loads || f.state != stateReading && f.gaveUp(); loads {
		at = &f.allOver
	}
	switch {
	case f.state.ended() || !loads && f.state != stateReading:
		return f.state, nil
	case *at == nil:
		*at = make(chan struct{})
	}
	return f.state, *at
}

// hurry returns the context for a read of f: one that is given up soon if there is a loader.
func (f *call[V]) hurry(ctx context.Context, load loader[V]) context.Context {
	if load == nil {
		return ctx
	}
	f.soon = coherence.Hurried{Context: ctx}
	return &f.soon
}

// hurryOn returns the context for what comes before and after the load of f; ctx is that of the
// load, and always the same.
func (f *call[V]) hurryOn(ctx context.Context) context.Context {
	if f.next.Context == nil {
		f.next = coherence.Hurried{Context: ctx}
	}
	return &f.next
}

// gaveUp reports whether the read of f was given up, because the shared tier said nothing and
// there is a loader.
func (f *call[V]) gaveUp() bool { return errors.Is(f.readErr, coherence.ErrSilent) }

// serve runs f, if that is the caller's part, and waits for it, in a span of the read.
func (c *pipeline[V]) serve(ctx context.Context, f *call[V], mine bool, load loader[V], hasOld, takesOld bool) answer[V] {
	inside, span := ctx, (*telemetry.OpenSpan)(nil)
	if c.node.Spans != nil {
		inside, span = c.node.Spans.Begin(ctx, telemetry.Span{Cache: c.keys.Name, Keys: []string{f.key}})
	}
	var end telemetry.SpanEnd // stands if user code ends this goroutine
	defer func() { span.End(end) }()
	if mine {
		c.start(inside, f.one[:], load, hasOld)
	}
	a := c.wait(ctx, f, load != nil, takesOld, c.opts.Stale.Timeout)
	if span == nil {
		return a
	}
	end.Err = a.err
	switch {
	case a.stale:
		end.Source = FromStale
	case a.err != nil: // there is no answer
	case f.asOf != 0:
		end.Source = FromShared
	default:
		end.Source = FromLoad
	}
	if !mine && a.load != nil {
		end.Loads = []context.Context{a.load.Context}
	}
	return a
}

// wait waits for f on behalf of one caller, who may leave before it ends. A caller
// without a loader waits for the read alone. One who takes an old value takes it where
// there is no other, or after softly if that is not 0.
func (c *pipeline[V]) wait(ctx context.Context, f *call[V], loads, takesOld bool, softly time.Duration) answer[V] {
	at, over := c.calls.progress(f, loads)
	if over == nil {
		return c.outcome(f, at, loads, takesOld)
	}
	var soft <-chan time.Time // nil: never
	if takesOld && softly != 0 {
		timer := time.NewTimer(softly)
		defer timer.Stop()
		soft = timer.C
	}
	var read <-chan struct{} // once soft has fired: the read may show an old value yet
	for {
		select {
		case <-over:
		case <-ctx.Done():
			return answer[V]{err: ctx.Err()}
		case <-c.keys.Context.Done():
			return answer[V]{err: ErrClosed}
		case <-soft:
			_, read = c.calls.progress(f, false)
		case <-read:
			read = nil
		}
		if at, over = c.calls.progress(f, loads); over == nil {
			return c.outcome(f, at, loads, takesOld)
		}
		if a, ok := c.answerStale(f); ok {
			c.servedStale(errSlow)
			return a
		}
	}
}

// outcome is what a caller gets of f, which is over, or, without a loader, of the read.
func (c *pipeline[V]) outcome(f *call[V], at state, loads, takesOld bool) (a answer[V]) {
	if at.ended() {
		a.load = f.span
	}
	switch {
	case !loads && at != stateFound && (!f.gaveUp() || f.value == nil): // whether there is another error is known only when f is over
		a.err = cmp.Or(f.readErr, f.absence, ErrNotStored)
	case f.err != nil || f.value == nil:
		a.err = f.err
	default:
		a.value = *f.value
	}
	switch {
	case a.err == nil:
		a.value, a.err = c.give(f.key, a.value)
		return a
	case takesOld && !errors.Is(a.err, ErrNotFound): // that there is no value is an answer
		if old, ok := c.answerStale(f); ok {
			if loads { // or the shared tier fails, which its own lines tell
				c.servedStale(a.err)
			}
			return old
		}
	}
	if !loads && c.opts.ErrorsAsMisses {
		a.err = ErrNotFound
	}
	return a
}

// answer is what a caller gets.
type answer[V any] struct {
	value V
	err   error
	stale bool // the value is an old one, see Options.Stale

	load *telemetry.OpenSpan // the span of the load that was waited for; nil if there is none

	at int64 // the time of the stamp of what was near and lives, on the clock of the near tier
}

// detached is the context of a call: it has the values of the caller who began it, and
// ends with the cache.
type detached struct {
	context.Context // of the cache
	values          context.Context
}

// Value asks the cache's context first: contexts derived from this one find their parent
// through it, and would start a goroutine each if they found the caller's instead.
func (d detached) Value(key any) any {
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.values.Value(key)
}
