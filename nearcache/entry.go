package nearcache

import (
	"math"
	"strings"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/heapsize"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
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

// complete says what e, which has its key and its value, takes of the near tier, beside its own
// piece of memory: encoded is the value as codec encodes it. It makes e more than a hit for its
// life, if the options say so. left is the lifetime that the value has in the shared tier, and
// ahead how long before the end of that it is to be refreshed.
func (c *values[V]) complete(e *entry[V], encoded []byte, codec shared.Codec, left, ahead time.Duration) {
	if c.with.Cost == nil {
		e.Charge(c.weigh(encoded, codec))
	} else {
		cost := int64(unknownCost)
		_ = c.guard(callbackCost, e.Key(), func() error { cost = max(0, c.with.Cost(e.value)); return nil })
		e.Charge(cost)
	}
	if c.opts.Stale.For == 0 && c.opts.RefreshAhead == 0 {
		return
	}
	// The pause begins when the value comes near, and with each attempt to refresh it.
	pause := max(near.Tick, min(ahead/8, left/2, longestRefresh))
	if c.node.Faults.Off(fault.Pauses) {
		pause = 0
	}
	e.Extend(&near.Extra{Fresh: left - ahead, Keep: c.opts.Stale.For, Pause: pause})
}

// chargeAlias charges e for what came with its value, if that is made of the bytes that were read:
// the rest of the record, and what the client leaves behind it.
func (c *values[V]) chargeAlias(e *entry[V], found *shared.Found) {
	if c.with.Cost != nil || len(found.Value) < largeValue {
		return
	}
	if _, ok := c.opts.reader(&found.Record).(shared.Aliaser); ok {
		whole := max(found.Size+lineEnd, cap(found.Value)) // the second if it was compressed
		e.Charge(heapsize.Piece(uintptr(whole), false) - heapsize.Piece(uintptr(len(found.Value)), false))
	}
}

// lineEnd is what clients read after a value, into the same memory.
const lineEnd = 2

// found is the arrival of what f found in the shared tier: e, which has its key, and its
// value if there is one.
func (c *values[V]) found(w coherence.Way, f *call[V], e *near.Entry, found *shared.Found) coherence.Arrival {
	e.Stamp = f.stamp
	return coherence.Arrival{
		Way: w, Key: f.key, Hash: f.hash, Entry: e, Found: found, Write: f.refresh, Rival: f.rival.Load(),
		Basis: coherence.Basis{Revision: found.Revision, Clock: found.Clock, TagClock: found.TagClock, Slots: found.Slots, Floor: f.floor},
	}
}

// newNamed returns an entry with a copy of key, which is in the same piece of
// memory if it is as short as most keys are: a look finds it without another way
// through memory. What the piece takes is charged.
func newNamed[V any](key string) *entry[V] {
	switch n := len(key); {
	case n <= 16:
		e := new(struct {
			entry[V]
			room [16]byte
		})
		e.Name(unsafe.Offsetof(e.room), key)
		chargePiece(&e.Entry, unsafe.Sizeof(*e), 0)
		return &e.entry
	case n <= 32:
		e := new(struct {
			entry[V]
			room [32]byte
		})
		e.Name(unsafe.Offsetof(e.room), key)
		chargePiece(&e.Entry, unsafe.Sizeof(*e), 0)
		return &e.entry
	case n <= 64:
		e := new(struct {
			entry[V]
			room [64]byte
		})
		e.Name(unsafe.Offsetof(e.room), key)
		chargePiece(&e.Entry, unsafe.Sizeof(*e), 0)
		return &e.entry
	default:
		e := new(struct {
			entry[V]
			key string
		})
		e.key = strings.Clone(key)
		e.NameLong(unsafe.Offsetof(e.key))
		chargePiece(&e.Entry, unsafe.Sizeof(*e), len(key))
		return &e.entry
	}
}

// chargePiece charges e for its piece of memory, and for a key that is apart.
func chargePiece(e *near.Entry, size uintptr, key int) {
	e.Charge(heapsize.Piece(size, true) + heapsize.Piece(uintptr(key), false) + near.Overhead)
}

// newAbsent makes the near entry which says that there is no value.
func (c *values[V]) newAbsent(key string, stamp near.Stamp) *near.Entry {
	e := newNamed[V](key)
	e.Stamp = stamp
	e.Extend(&near.Extra{Absent: true})
	return &e.Entry
}
