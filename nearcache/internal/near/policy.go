package near

import (
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// policy is ristretto, which rules over the core: entries that are read most. It compares
// how often they are read with those who want to take their place.
//
// Ristretto applies what it is told later, out of order, or not at all. Nothing relies
// on when it does: an entry moves to the core once ristretto has its hash, and is
// elsewhere until then.
type policy struct {
	limit int64             // cost of the core; set once; 0: there is none
	expel func(hash uint64) // called for what ristretto gives up; set once

	// mu keeps calls apart from opening and closing: ristretto panics when it is used
	// while it is being closed. Calls share it.
	mu     sync.RWMutex
	cache  *ristretto.Cache[uint64, struct{}] // guarded by mu; nil unless it is open
	closed bool                               // guarded by mu

	drops chan uint64 // to the janitor: hashes that left the core
}

const (
	// smallestWithCore is the number of bytes from which on there is a core. An empty
	// ristretto takes the room of many entries: see ristrettoBytes.
	smallestWithCore = 16 << 20

	ristrettoBytes = 380 << 10

	// coreShare is which part of all bytes the core may take. More would cost hits: an
	// entry takes more bytes there.
	coreShare = 16

	// coreOverhead is what ristretto takes for each entry: 117 bytes for a map of hashes
	// without values, 36 for a map of costs.
	coreOverhead = 160

	// counterBytes is for how many bytes of the core ristretto has a counter.
	counterBytes = 64
)

func (p *policy) init(bytes int64, expel func(hash uint64)) {
	p.drops = make(chan uint64, 64)
	p.expel = expel
	if bytes >= smallestWithCore {
		p.limit = bytes / coreShare
	}
}

// fixed returns how many bytes ristretto takes without entries.
func (p *policy) fixed() int64 {
	if p.limit == 0 {
		return 0
	}
	return ristrettoBytes
}

// open starts ristretto, unless it was closed or is there.
func (p *policy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cache != nil {
		return
	}
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters:        p.limit / counterBytes,
		MaxCost:            p.limit,
		BufferItems:        64,
		IgnoreInternalCost: true,
		KeyToHash:          func(hash uint64) (uint64, uint64) { return hash, 0 },
		OnEvict:            func(item *ristretto.Item[struct{}]) { p.expel(item.Key) },
	})
	if err != nil {
		return // it takes any positive numbers; without it, there is no core
	}
	p.cache = cache
}

func (p *policy) close() {
	p.mu.Lock()
	cache := p.cache
	p.cache, p.closed = nil, true
	p.mu.Unlock()
	if cache != nil {
		cache.Close() // outside of the lock: it waits for evictions under way
	}
}

// holds reports whether ristretto has the hash. It does not count as an access.
func (p *policy) holds(hash uint64) bool {
	if p.limit == 0 {
		return false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache == nil {
		return false
	}
	_, ok := p.cache.GetTTL(hash)
	return ok
}

// offer proposes an entry, which was a hit so many times since its last turn, for the
// core, or tells of its new cost.
func (p *policy) offer(e *Entry, hits uint32) {
	p.open()
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache == nil {
		return
	}
	for range hits {
		p.cache.Get(e.hash) // counts
	}
	p.cache.Set(e.hash, struct{}{}, costIn(coreQueue, e))
}

// drop asks the janitor to forget the hash. It never blocks: when the janitor
// is behind, the hash keeps its cost in ristretto until that gives it up.
func (p *policy) drop(hash uint64) {
	select {
	case p.drops <- hash:
	default:
	}
}

// forget takes the hash out of ristretto. It blocks while the queue of that is full.
func (p *policy) forget(hash uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache != nil {
		p.cache.Del(hash)
	}
}
