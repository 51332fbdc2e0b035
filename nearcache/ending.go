package nearcache

import (
	"context"
	"errors"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// ending is a load under a lease that is over: what it brought, and what becomes of
// that in the shared tier.
type ending[V any] struct {
	f *flight[V]
	hold
	entry Entry[V]
	err   error // why there is none; what the flight ends with

	does    deed
	put     shared.Put // that does it
	refused bool       // something else was in its place

	// Of a value to be stored.
	lives lifetimes
	size  int
	slots []uint32
}

// deed is what is still to be done in the shared tier.
type deed uint8

const (
	nothing     deed = iota
	putValue         // store the value
	putAbsent        // store that there is none
	putGone          // take away the record that was of use: there is no value any more
	giveBack         // give the lease back
	endReplaced      // take away the record that was of use: its readers were given another value
)

// conclude ends loads under leases, as many at a time as one round trip carries.
func (c *Cache[V]) conclude(ctx context.Context, all []ending[V]) {
	for len(all) > 0 {
		n := c.concludePart(ctx, all)
		all = all[n:]
	}
}

// concludePart is conclude for the first of all, and returns how many these are. A
// value is the result of its flight; it is stored, and installed if that was
// accepted. One that was refused is not newer than what replaced the lease: if that
// is a value, it is the result instead.
func (c *Cache[V]) concludePart(ctx context.Context, all []ending[V]) (n int) {
	c.youngByTags(ctx, all[:min(len(all), maxPart)])
	for bytes := 0; n < min(len(all), maxPart) && bytes < maxPartBytes; n++ {
		c.prepare(&all[n])
		bytes += all[n].size
	}
	part := all[:n]
	var slots []uint32
	for i := range part {
		slots = append(slots, part[i].slots...)
	}
	c.keys.seeSlots(ctx, slots)
	c.carryOut(ctx, part)
	c.carryOut(ctx, part) // leases of what turned out to be too large
	c.takeOthers(ctx, part)
	return n
}

// prepare decides what is to be done in the shared tier.
func (c *Cache[V]) prepare(e *ending[V]) {
	if e.err != nil {
		c.prepareAbsent(e)
		return
	}
	f, entry := e.f, &e.entry
	f.value, f.fresh = &entry.Value, true
	if entry.NoStore {
		c.letGo(e)
		return
	}
	if e.lives, _ = c.opts.lives(entry); e.young {
		e.lives = e.lives.limit(c.opts.SourceLag)
	}
	data, err := c.encode(f.key, entry.Value)
	if err != nil {
		c.letGo(e)
		return
	}
	e.slots, e.size = generation.SlotsOf(entry.Tags), len(data)
	e.does, e.put = putValue, c.keys.valuePut(f.key, e.lives, e.clock, data)
	e.put.Record.Nonce, e.put.Expect, e.put.Born = e.nonce(), e.expect, e.born
	putTags(&e.put, e.slots, f.tagClock)
}

// prepareAbsent is prepare for a load that failed. That there is no value is
// stored, if the options say so.
func (c *Cache[V]) prepareAbsent(e *ending[V]) {
	stores := c.opts.NotFoundTTL > 0
	if !errors.Is(e.err, ErrNotFound) || !stores && e.expect == 0 {
		c.letGo(e)
		return
	}
	e.does, e.put = putAbsent, shared.Put{
		Key: c.keys.storeKey(e.f.key), TTL: share(c.opts.NotFoundTTL, c.opts.jitter()), Expect: e.expect, Born: e.born,
		Record: driver.Record{Kind: driver.KindNotFound, Nonce: e.nonce(), Clock: e.clock},
	}
	if e.young {
		e.put.TTL = min(e.put.TTL, c.opts.SourceLag)
	}
	if !stores { // what there was must not be of use any more
		e.does, e.put.TTL, e.put.Record.Kind = putGone, 0, driver.KindTombstone
	}
}

// letGo stores nothing. A lease in the place of the record is given back. One beside
// it is given back by whoever took it; but if a caller is given what was loaded, the
// record has had its day.
func (c *Cache[V]) letGo(e *ending[V]) {
	switch {
	case e.expect == 0:
		e.does, e.put = giveBack, e.released()
	case e.f.fresh && !e.f.background:
		e.does, e.put = endReplaced, shared.Put{
			Key: c.keys.storeKey(e.f.key), Expect: e.expect, Record: driver.Record{Kind: driver.KindTombstone},
		}
	}
}

// carryOut does what is to be done, in one round trip.
func (c *Cache[V]) carryOut(ctx context.Context, part []ending[V]) {
	puts := make([]shared.Put, 0, len(part))
	for i := range part {
		if part[i].does != nothing {
			puts = append(puts, part[i].put)
		}
	}
	if len(puts) == 0 {
		return
	}
	receipts := c.keys.store(ctx, puts)
	for i := range part {
		if e := &part[i]; e.does != nothing {
			c.done(e, &receipts[0])
			receipts = receipts[1:]
		}
	}
}

// store stores what was loaded, where nothing came in between.
func (k *keyspace) store(ctx context.Context, puts []shared.Put) []driver.Receipt {
	if !k.node.faults.Off(fault.Expectation) {
		return k.node.tier.Fill(ctx, puts)
	}
	receipts := make([]driver.Receipt, len(puts))
	for i := range puts {
		store := k.node.tier.Fill
		if puts[i].Expect != 0 {
			puts[i].Expect, store = 0, k.node.tier.Write
		}
		receipts[i] = store(ctx, puts[i:i+1])[0]
	}
	return receipts
}

// done takes in what became of what was to be done.
func (c *Cache[V]) done(e *ending[V], r *driver.Receipt) {
	did, lost := e.does, errors.Is(r.Err, shared.ErrLeaseLost)
	e.does = nothing
	switch {
	case r.Err == nil:
		c.stored(e, did, r.Revision)
	case lost:
		e.refused = e.gives()
	case did == putValue && errors.Is(r.Err, shared.ErrTooLarge):
		c.keys.loadedTooLarge(e.f.key, e.size, r.Err)
		c.letGo(e)
	default: // nobody knows whether it is stored; a lease ends by itself
		c.keys.sharedErrors.Add(1)
		c.unstored(e, true)
	}
}

// stored has the near tier know what the shared tier has.
func (c *Cache[V]) stored(e *ending[V], did deed, rev driver.Revision) {
	f := e.f
	a := arrival{
		way: wayLoaded, key: f.key, hash: f.hash, write: f.refresh,
		basis: basis{revision: rev, clock: e.clock, tagClock: f.tagClock, slots: e.slots},
	}
	switch did {
	case putValue:
		near := c.newEntry(f.key, e.entry.Value, e.size, f.stamp, rev)
		near.Tag(e.slots)
		c.extend(near, e.lives.ttl, e.lives.ahead)
		a.entry, a.life = &near.Entry, e.lives.near
	case putAbsent:
		a.way, a.entry, a.life = wayLoadedAbsent, c.newAbsent(f.key, f.stamp, rev), min(e.put.TTL, c.opts.NearTTL)
	case putGone:
		c.keys.space.Invalidate(f.key, f.hash)
		return
	default:
		c.unstored(e, false)
		return
	}
	if f.background {
		a.way = wayRefreshed
	}
	a.life = c.keys.nearLife(a.life)
	c.keys.arrive(&a)
}

// unstored gives what was loaded to those who wait for it, and it is not stored, or may
// not be. keeps says that the shared tier may have something older: the lease did
// not stand to the end.
func (c *Cache[V]) unstored(e *ending[V], keeps bool) {
	if e.gives() {
		c.giveLoaded(e.f, &arrival{way: wayUnstored, keeps: keeps})
	}
}

// gives reports whether the load has something for its callers, if only that there is no
// value.
func (e *ending[V]) gives() bool { return e.err == nil || errors.Is(e.err, ErrNotFound) }

// takeOthers reads what took the place of the leases, or of the records to be
// replaced, of those that were refused. A value is the result of its flight.
func (c *Cache[V]) takeOthers(ctx context.Context, part []ending[V]) {
	var keys []string
	for i := range part {
		if part[i].refused {
			keys = append(keys, part[i].f.key)
		}
	}
	if len(keys) == 0 {
		return
	}
	c.keys.refused.Add(uint64(len(keys)))
	found, err := c.keys.readRecords(ctx, keys)
	for i := range part {
		e := &part[i]
		if !e.refused {
			continue
		}
		if err == nil && c.use(e.f, &found[0]) {
			e.err = nil
		} else {
			c.unstored(e, true)
		}
		if err == nil {
			found = found[1:]
		}
	}
}
