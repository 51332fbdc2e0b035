package nearcache

import (
	"math"
	"strings"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// entry is what the near tier holds, which returns a pointer to the Entry in it.
type entry[V any] struct {
	near.Entry // first, see entryOf
	value      V
}

// entryOf returns the entry that e is part of. What is in the space of a cache came from that
// cache, so an entry of its space is of its type.
func entryOf[V any](e *near.Entry) *entry[V] { return (*entry[V])(unsafe.Pointer(e)) }

// unknownCost is that of a value whose Options.Cost panicked: it is not kept near.
const unknownCost = math.MaxInt64 / 2

// longestRefresh is the longest pause between two attempts to refresh a value.
const longestRefresh = time.Second

// newEntry makes the near entry of a value. size is the length of the encoded
// value.
func (c *values[V]) newEntry(key string, v V, size int, stamp near.Stamp, rev driver.Revision) *entry[V] {
	e := newNamed[V](key)
	e.value = v
	c.label(e, size, stamp, rev)
	return e
}

// label is newEntry for an entry that has its key and its value already.
func (c *values[V]) label(e *entry[V], size int, stamp near.Stamp, rev driver.Revision) {
	c.charge(e, size)
	c.place(e, stamp, rev)
}

// charge says what e takes of the near tier: its value, of which size is the encoded length,
// and its key.
func (c *values[V]) charge(e *entry[V], size int) {
	cost := int64(size)
	if c.with.Cost != nil && c.guard(callbackCost, e.Key(), func() error { cost = max(0, c.with.Cost(e.value)); return nil }) != nil {
		cost = unknownCost
	}
	e.Charge(cost)
	e.Charge(int64(len(e.Key())) + near.Overhead)
}

// found is the arrival of what f found in the shared tier: e, which has its key, and its
// value if there is one.
func (c *values[V]) found(w coherence.Way, f *call[V], e *near.Entry, found *shared.Found) coherence.Arrival {
	e.FromShared = true
	e.Tag(found.Slots)
	return coherence.Arrival{
		Way: w, Key: f.key, Hash: f.hash, Entry: e, Found: found, Write: f.refresh,
		Basis: coherence.Basis{Revision: found.Revision, Clock: found.Clock, TagClock: found.TagClock, Slots: found.Slots, Floor: f.floor},
	}
}

// place says where and when e comes from.
func (c *values[V]) place(e *entry[V], stamp near.Stamp, rev driver.Revision) {
	e.Stamp, e.Revision = stamp, rev
	e.Partition = int32(c.keys.Partition(e.Key()))
}

// newNamed returns an entry with a copy of key, which is in the same piece of
// memory if it is as short as most keys are: a look finds it without another way
// through memory.
func newNamed[V any](key string) *entry[V] {
	switch n := len(key); {
	case n <= 16:
		e := new(struct {
			entry[V]
			room [16]byte
		})
		e.Name(unsafe.Offsetof(e.room), key)
		return &e.entry
	case n <= 32:
		e := new(struct {
			entry[V]
			room [32]byte
		})
		e.Name(unsafe.Offsetof(e.room), key)
		return &e.entry
	case n <= 64:
		e := new(struct {
			entry[V]
			room [64]byte
		})
		e.Name(unsafe.Offsetof(e.room), key)
		return &e.entry
	default:
		e := new(struct {
			entry[V]
			key string
		})
		e.key = strings.Clone(key)
		e.NameLong(unsafe.Offsetof(e.key))
		return &e.entry
	}
}

// newAbsent makes the near entry which says that there is no value.
func (c *values[V]) newAbsent(key string, stamp near.Stamp, rev driver.Revision) *near.Entry {
	e := newNamed[V](key)
	e.Charge(int64(len(key)) + near.Overhead)
	c.place(e, stamp, rev)
	e.Extend(&near.Extra{Absent: true})
	return &e.Entry
}

// extend makes e more than a hit for its life, if the options say so. left is
// the lifetime that its value has in the shared tier, and ahead how long before the end
// of that it is to be refreshed.
func (c *values[V]) extend(e *entry[V], left, ahead time.Duration) {
	if c.opts.Stale.For == 0 && c.opts.RefreshAhead == 0 {
		return
	}
	x := &near.Extra{Fresh: left - ahead, Keep: c.opts.Stale.For, Pause: refreshPause(left, ahead)}
	if c.node.Faults.Off(fault.Pauses) {
		x.Pause = 0
	}
	e.Extend(x)
}

// refreshPause is how long after a value came near, or after an attempt to refresh it,
// the next attempt may begin: of a value that has so long left, and is to be refreshed so
// long before its end.
func refreshPause(left, ahead time.Duration) time.Duration {
	return max(near.Tick, min(ahead/8, left/2, longestRefresh))
}

// entryHere makes the near entry of a value that has no record, nil if it cannot be
// kept.
func (c *values[V]) entryHere(f *call[V], v V, slots []uint32, life time.Duration) *near.Entry {
	size := 0
	if c.with.Cost == nil {
		data, err := c.encode(f.key, v)
		if err != nil {
			return nil
		}
		size = len(data)
	}
	e := c.newEntry(f.key, v, size, f.stamp, driver.Revision{})
	e.Tag(slots)
	c.extend(e, life, c.opts.ahead(life))
	return &e.Entry
}
