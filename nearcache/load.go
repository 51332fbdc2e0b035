package nearcache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/lag"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// fill is a load, and what becomes of what it brought in the shared tier.
type fill[V any] struct {
	f                   *call[V]
	coherence.LoadRight               // without a lease, nothing is stored
	life                time.Duration // how long the value is near at most, without a lease; not at all if 0
	entry               Loaded[V]
	err                 error // why there is no entry; what the call ends with

	action  action
	put     shared.Put // that does it
	refused bool       // something else was in its place

	value coherence.Value // to be stored
}

// add adds the load of f to all, under h if that is not nil. Without a lease, what it brings
// is near for life at most. It is not inlined: fills are large, and their copies would be half
// of the code of leases.
//
//go:noinline
func add[V any](all []fill[V], f *call[V], life time.Duration, h *coherence.LoadRight) []fill[V] {
	all = append(all, fill[V]{f: f, life: life})
	if h != nil {
		all[len(all)-1].LoadRight = *h
	}
	return all
}

// action is what is still to be done in the shared tier.
type action uint8

const (
	noAction       action = iota
	putValue              // store the value
	putAbsent             // store that there is none
	deleteStale           // take away the record that was of use: there is no value any more
	releaseLease          // give the lease back
	retireReplaced        // take away the record that was of use: its readers were given another value
)

// loadAndFill calls load once for all, and does with each value what its lease allows:
// store it, or keep it near for a while. It ends their calls.
func (c *pipeline[V]) loadAndFill(ctx context.Context, all []fill[V], load loader[V]) {
	if len(all) == 0 {
		return
	}
	soon := all[0].f.hurryOn(ctx) // not for the loader
	defer func() {
		for i := range all { // user code panicked, or ended this goroutine
			all[i].err = &PanicError{}
		}
		c.keys.GiveBack(soon, c.releaseBeside(all)...)
	}()
	if slices.ContainsFunc(all, func(e fill[V]) bool { return e.Leased() }) {
		c.keys.ReadyTagClock(soon)
	}
	c.loadAll(ctx, all, load)
	for len(all) > 0 {
		n := c.fillPart(soon, all)
		c.keys.GiveBack(soon, c.releaseBeside(all[:n])...)
		for i := range all[:n] {
			c.finish(all[i].f, all[i].err)
		}
		all = all[n:]
	}
}

// loadAll calls load once for all, in a span.
func (c *pipeline[V]) loadAll(ctx context.Context, all []fill[V], load loader[V]) {
	keys := make([]string, len(all))
	var ended lag.Recency // the newest of all keys
	for i := range all {
		e := &all[i]
		keys[i] = e.f.key
		if !e.Leased() {
			e.Clock, _, _ = c.keys.Clock.Get()
		}
		e.f.clock, e.f.loaded = e.Clock, c.node.Near.Stamp()
		e.f.tagClock, _, _ = c.keys.Tags.Get()
		if e.f.told != nil {
			e.Asked()
		}
		e.Begin(c.opts.SourceLag)
		c.advance(e.f, stateLoading)
		ended = ended.Newer(e.Ended)
	}
	var previous *shared.Found
	if len(all) == 1 && all[0].Expect != 0 {
		previous = all[0].f.found
	}
	var span *telemetry.OpenSpan
	if c.node.Spans != nil {
		ctx, span = c.node.Spans.Begin(ctx, telemetry.Span{
			Load: true, Cache: c.keys.Name, Keys: slices.Clone(keys), Background: all[0].f.refresh != nil,
		})
	}
	results, err := c.callLoader(ctx, keys, load, previous, ended)
	span.End(telemetry.SpanEnd{Err: cmp.Or(err, keysError(failedOf(keys, results)))})
	for i := range all {
		e := &all[i]
		e.f.span = span // for those who wait for the call
		if e.err = err; err != nil {
			continue
		}
		if e.entry, e.err = results[i].entry, results[i].err; e.err == nil {
			e.err = c.accept(&e.entry, e.f.key)
		}
	}
}

// fillPart ends the first of all loads, as many as one round trip carries, and returns how
// many these are. A value is the result of its call; it is stored, and installed if that
// was accepted. One that was refused is not newer than what replaced the lease: if that
// is a value, it is the result instead.
func (c *pipeline[V]) fillPart(ctx context.Context, all []fill[V]) (n int) {
	c.youngByTags(ctx, all[:min(len(all), coherence.MaxPart)])
	var slots []uint32
	for bytes := 0; n < min(len(all), coherence.MaxPart) && bytes < coherence.MaxPartBytes; n++ {
		e := &all[n]
		if e.Leased() {
			c.prepare(e)
		} else {
			c.keepUnshared(e)
			c.finish(e.f, e.err)
		}
		bytes, slots = bytes+len(e.value.Data), append(slots, e.value.Slots...)
	}
	part := all[:n]
	c.keys.SeeSlots(ctx, slots)
	c.commit(ctx, part)
	c.commit(ctx, part) // leases of what turned out to be too large
	c.adoptWinners(ctx, part)
	return n
}

// youngByTags is what young is, once the tags of the values are known. Watermarks are
// read if any tag was invalidated within SourceLag, and those of these tags are not known.
func (c *pipeline[V]) youngByTags(ctx context.Context, all []fill[V]) {
	if c.opts.SourceLag == 0 {
		return
	}
	clock, _, _ := c.keys.Tags.Get()
	var suspects []*fill[V]
	var slots []uint32
	for i := range all {
		e := &all[i]
		if e.Leased() && e.err == nil && len(e.entry.Tags) > 0 && !e.Young && e.Within(clock, c.opts.SourceLag) {
			suspects, slots = append(suspects, e), append(slots, generation.SlotsOf(e.entry.Tags)...)
		}
	}
	if len(suspects) == 0 {
		return
	}
	if c.node.Hears() {
		slots = c.keys.Tags.Unknown(slots)
	}
	var failure error
	if len(slots) > 0 {
		if _, failure = c.keys.ReadSlots(ctx, slots); failure != nil {
			c.keys.SharedErrors.Add(1)
		}
	}
	for _, e := range suspects {
		e.Young = failure != nil || e.Within(c.keys.Tags.Newest(generation.SlotsOf(e.entry.Tags)), c.opts.SourceLag)
	}
}

// prepare decides what is to be done in the shared tier.
func (c *pipeline[V]) prepare(e *fill[V]) {
	if e.err != nil {
		c.prepareAbsent(e)
	} else {
		c.prepareValue(e)
	}
	switch e.action {
	case putValue, putAbsent, deleteStale:
		e.put.Expect, e.put.Born, e.put.Record.Clock = e.Expect, e.Born, e.Clock
		if e.Expect == 0 { // or the record has a nonce of its own
			e.put.Record.Nonce = e.Lease.Token
		}
	}
}

func (c *pipeline[V]) prepareValue(e *fill[V]) {
	f, entry := e.f, &e.entry
	f.value = &entry.Value
	if entry.NoStore {
		c.release(e)
		return
	}
	v := &e.value
	if v.Lives, _ = c.opts.lives(entry.TTL, entry.NearTTL); e.Young {
		l := &v.Lives // it is not refreshed before its end: by then, the source has what was written before
		l.TTL, l.Near, l.Ahead = min(l.TTL, c.opts.SourceLag), min(l.Near, c.opts.SourceLag), min(l.Ahead, time.Millisecond)
	}
	data, err := c.encode(f.key, entry.Value)
	if err != nil {
		c.release(e)
		return
	}
	v.Key, v.Data, v.Slots = f.key, data, generation.SlotsOf(entry.Tags)
	e.action, e.put = putValue, c.keys.ValuePut(v, e.Clock, f.tagClock)
}

// prepareAbsent is for a load that failed. That there is no value is
// stored, if the options say so.
func (c *pipeline[V]) prepareAbsent(e *fill[V]) {
	stores := c.opts.NotFoundTTL > 0
	if !errors.Is(e.err, ErrNotFound) || !stores && e.Expect == 0 {
		c.release(e)
		return
	}
	e.action, e.put = putAbsent, shared.Put{
		Key: c.keys.StoreKey(e.f.key), TTL: share(c.opts.NotFoundTTL, c.opts.jitter()),
		Record: driver.Record{Kind: driver.KindNotFound},
	}
	if e.Young {
		e.put.TTL = min(e.put.TTL, c.opts.SourceLag)
	}
	if !stores { // what there was must not be of use any more
		e.action, e.put.TTL, e.put.Record.Kind = deleteStale, 0, driver.KindTombstone
	}
}

// release stores nothing. A lease in the place of the record is given back. One beside
// it is given back by whoever took it; but if a caller is given what was loaded, the
// record has had its day.
func (c *pipeline[V]) release(e *fill[V]) {
	switch {
	case e.Expect == 0:
		e.action, e.put = releaseLease, e.Released()
	case e.f.value != nil && (e.f.refresh == nil || e.f.told != nil && e.err == nil): // of a refresh that failed it is the old value
		e.action, e.put = retireReplaced, shared.Put{
			Key: c.keys.StoreKey(e.f.key), Expect: e.Expect, Record: driver.Record{Kind: driver.KindTombstone},
		}
	}
}

// commit does what is to be done, in one round trip.
func (c *pipeline[V]) commit(ctx context.Context, part []fill[V]) {
	puts := make([]shared.Put, 0, len(part))
	for i := range part {
		if e := &part[i]; e.action != noAction {
			e.put.Journal = e.f.told != nil && e.gives()
			puts = append(puts, e.put)
		}
	}
	if len(puts) == 0 {
		return
	}
	receipts := c.keys.Store(ctx, puts)
	for i := range part {
		if e := &part[i]; e.action != noAction {
			c.conclude(e, &receipts[0])
			receipts = receipts[1:]
		}
	}
}

// conclude takes in what became of what was to be done.
func (c *pipeline[V]) conclude(e *fill[V], r *driver.Receipt) {
	did, lost := e.action, errors.Is(r.Err, shared.ErrLeaseLost)
	e.action = noAction
	switch {
	case r.Err == nil:
		c.fillDone(e, did, r.Revision)
	case lost:
		e.refused = e.gives()
	case did == putValue && errors.Is(r.Err, shared.ErrTooLarge):
		c.loadedTooLarge(e.f.key, len(e.value.Data), r.Err)
		c.release(e)
	default: // nobody knows whether it is stored; a lease ends by itself
		c.keys.SharedErrors.Add(1)
		e.f.told.failed(r.Err)
		c.giveLoaded(e, &coherence.Arrival{Keeps: true})
	}
}

// loadedTooLarge counts a loaded value that the shared tier does not take, of size bytes, and
// logs the first of the cache: every node loads such a value for every request, and
// nobody gets an error.
func (b *base) loadedTooLarge(key string, size int, err error) {
	b.tooLarge.Add(1)
	if b.toldTooLarge.Swap(true) {
		return
	}
	b.node.Options.Logger.Warn("nearcache: a loaded value is too large for the shared tier, and is not cached",
		"cache", b.keys.Name, "key", key, "size", size, "limit", b.node.Tier.MaxValue(), "error", err)
}

// fillDone has the near tier know what the shared tier has.
func (c *pipeline[V]) fillDone(e *fill[V], did action, rev driver.Revision) {
	f := e.f
	f.told.stored(rev)
	a := coherence.Arrival{
		Way: coherence.WayLoaded, Key: f.key, Hash: f.hash, Write: f.refresh, Rival: f.rival.Load(),
		Basis: coherence.Basis{Revision: rev, Clock: e.Clock, TagClock: f.tagClock, Slots: e.value.Slots},
	}
	switch did {
	case putValue:
		near := newNamed[V](f.key)
		near.value = e.entry.Value
		c.complete(near, e.value.Data, c.opts.Codec, e.value.Lives.TTL, e.value.Lives.Ahead)
		near.Stamp = f.stamp
		a.Entry, a.Life = &near.Entry, e.value.Lives.Near
	case putAbsent:
		a.Way, a.Entry, a.Life = coherence.WayLoadedAbsent, c.newAbsent(f.key, f.stamp), min(e.put.TTL, c.opts.NearTTL)
	case deleteStale:
		c.keys.Space.Invalidate(f.key, f.hash)
		return
	default:
		c.giveLoaded(e, &coherence.Arrival{})
		return
	}
	if f.refresh != nil {
		a.Way = coherence.WayRefreshed
	}
	c.keys.Arrive(&a)
}

// giveLoaded gives what was loaded to those who wait for it, and it is not stored, or may not
// be: the lease did not stand to the end if a keeps what the shared tier may have. A load that
// failed has nothing for anybody, nor has a refresh without an entry.
func (c *pipeline[V]) giveLoaded(e *fill[V], a *coherence.Arrival) {
	f := e.f
	if !e.gives() || f.refresh != nil && a.Entry == nil {
		return
	}
	a.Way, a.Key, a.Hash, a.Stamp = coherence.WayUnstored, f.key, f.hash, f.loaded
	if f.refresh != nil {
		a.Way, a.Write = coherence.WayRefreshed, f.refresh
	}
	c.keys.Arrive(a)
}

// gives reports whether the load has something for its callers, if only that there is no
// value.
func (e *fill[V]) gives() bool { return e.err == nil || errors.Is(e.err, ErrNotFound) }

// adoptWinners reads what took the place of the leases, or of the records to be
// replaced, of those that were refused. A value is the result of its call.
func (c *pipeline[V]) adoptWinners(ctx context.Context, part []fill[V]) {
	var keys []string
	for i := range part {
		if part[i].refused {
			keys = append(keys, part[i].f.key)
		}
	}
	if len(keys) == 0 {
		return
	}
	c.refused.Add(uint64(len(keys)))
	found, err := c.keys.ReadRecords(ctx, keys)
	for i := range part {
		e := &part[i]
		if !e.refused {
			continue
		}
		if err == nil && c.use(e.f, &found[0]) == nil {
			e.err = nil
		} else {
			c.giveLoaded(e, &coherence.Arrival{Keeps: true})
		}
		if err == nil {
			found = found[1:]
		}
	}
}

// keepUnshared ends a load for this node only. What it brought is kept near, or that there
// is no value, if the options say so.
func (c *pipeline[V]) keepUnshared(e *fill[V]) {
	f := e.f
	a := coherence.Arrival{Keeps: true, Basis: coherence.Basis{Clock: f.clock, TagClock: f.tagClock}}
	switch {
	case errors.Is(e.err, ErrNotFound) && c.opts.NotFoundTTL > 0 && e.life > 0:
		a.Entry = c.newAbsent(f.key, f.stamp)
		a.Life = min(share(c.opts.NotFoundTTL, c.opts.jitter()), c.opts.NearTTL, e.life)
	case e.err == nil:
		f.value = &e.entry.Value
		if e.life > 0 && !e.entry.NoStore {
			l, _ := c.opts.lives(e.entry.TTL, e.entry.NearTTL)
			a.Slots, a.Life = generation.SlotsOf(e.entry.Tags), min(l.Near, e.life)
			a.Entry = c.entryHere(f, e.entry.Value, a.Life)
		}
	}
	c.giveLoaded(e, &a)
}

// entryHere makes the near entry of a value that has no record, nil if it cannot be
// kept.
func (c *values[V]) entryHere(f *call[V], v V, life time.Duration) *near.Entry {
	var data []byte
	if c.with.Cost == nil {
		var err error
		if data, err = c.encode(f.key, v); err != nil {
			return nil
		}
	}
	e := newNamed[V](f.key)
	e.value = v
	c.complete(e, data, c.opts.Codec, life, c.opts.ahead(life))
	e.Stamp = f.stamp
	return &e.Entry
}

// releaseBeside returns what gives back the leases of all that are beside their records.
func (c *pipeline[V]) releaseBeside(all []fill[V]) (back []shared.Put) {
	for i := range all {
		if e := &all[i]; e.Expect != 0 {
			back = append(back, c.keys.Released(e.Lease, e.err))
		}
	}
	return back
}
