package nearcache

import (
	"context"
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// answer is what a caller gets.
type answer[V any] struct {
	value V
	err   error
	stale bool // the value is an old one, see Options.FailSafe

	at int64 // the time of the stamp of what was near and lives, on the clock of the near tier
}

// given is a, of key, as one caller gets it.
func (c *Cache[V]) given(key string, a answer[V]) answer[V] {
	if a.err == nil {
		a.value, a.err = c.give(key, a.value)
	}
	return a
}

// lateAnswer answers from what the near tier has beside hits. It is asked after
// a look for a hit was in vain, so that hits do not pay for it.
//
// A value that is about to end is refreshed with load, if there is one. An old
// value is an answer for as long as no attempt is made to get another.
func (c *Cache[V]) lateAnswer(ctx context.Context, key string, hash uint64, load loader[V]) (a answer[V], ok bool) {
	if !c.late {
		return a, false
	}
	found, use := c.keys.space.FindLate(key, hash)
	switch {
	case use == near.Nothing || use == near.Stale && !c.node.near.Resting(found.Extra()):
		return a, false
	case use == near.Stale:
		return c.oldAnswer(key, (*entry[V])(unsafe.Pointer(found)).value), true // see hit
	}
	if c.node.near.Notes(c.keys.hits.add()) {
		c.node.near.Touch(hash, found)
	}
	a.at = found.Stamp.At()
	if found.Extra().Absent {
		c.keys.absentHits.Add(1)
		a.err = ErrNotFound
		return a, true
	}
	if load != nil && c.opts.RefreshAhead > 0 && c.node.near.Claim(found.Extra()) {
		c.refreshSoon(ctx, key, hash, load)
	}
	a.value, a.err = c.give(key, (*entry[V])(unsafe.Pointer(found)).value) // see hit
	return a, true
}
