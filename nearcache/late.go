package nearcache

import (
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// answer is what a caller gets.
type answer[V any] struct {
	value V
	err   error
}

// lateAnswer answers from what the near tier has beside hits. It is asked after
// a look for a hit was in vain, so that hits do not pay for it.
func (c *Cache[V]) lateAnswer(key string, hash uint64) (a answer[V], ok bool) {
	if !c.late {
		return a, false
	}
	found, use := c.space.FindLate(key, hash)
	if use != near.Serve {
		return a, false
	}
	if sampled(c.hits.add()) {
		c.node.near.Touch(hash, found)
	}
	if found.Extra.Absent {
		c.absentHits.Add(1)
		a.err = ErrNotFound
		return a, true
	}
	a.value, a.err = c.give((*entry[V])(unsafe.Pointer(found)).value) // see hit
	return a, true
}
