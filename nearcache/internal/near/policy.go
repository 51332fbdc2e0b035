package near

import (
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// policy is ristretto, used for what it is best at: deciding by hash what is
// worth its cost. Ristretto applies what it is told later, out of order, or
// not at all; nothing here relies on when it does.
type policy struct {
	// mu keeps calls apart from close: ristretto panics when it is used while
	// it is being closed. Calls share it.
	mu    sync.RWMutex
	cache *ristretto.Cache[uint64, struct{}] // guarded by mu; nil once closed

	drops chan uint64 // to the janitor: hashes that may have left the index
}

// minCounters keeps the estimate of frequencies useful in a small tier.
const minCounters = 1 << 14

func (p *policy) open(bytes int64, evict func(hash uint64)) error {
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters:        max(bytes/(Overhead/4), minCounters),
		MaxCost:            bytes,
		BufferItems:        64,
		IgnoreInternalCost: true,
		KeyToHash:          func(hash uint64) (uint64, uint64) { return hash, 0 },
		OnEvict:            func(item *ristretto.Item[struct{}]) { evict(item.Key) },
	})
	if err != nil {
		return err
	}
	p.cache, p.drops = cache, make(chan uint64, 4096)
	return nil
}

func (p *policy) close() {
	p.mu.Lock()
	cache := p.cache
	p.cache = nil
	p.mu.Unlock()
	if cache != nil {
		cache.Close() // outside of the lock: it waits for evictions under way
	}
}

// touch counts an access.
func (p *policy) touch(hash uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache != nil {
		p.cache.Get(hash)
	}
}

// holds reports whether the policy has admitted the hash. It does not count as
// an access.
func (p *policy) holds(hash uint64) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache == nil {
		return false
	}
	_, ok := p.cache.GetTTL(hash)
	return ok
}

// offer proposes the hash for admission at this cost, or updates its cost.
func (p *policy) offer(hash uint64, cost int64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache != nil {
		p.cache.Set(hash, struct{}{}, cost)
	}
}

// drop asks the janitor to forget the hash. It never blocks: when the janitor
// is behind, the hash keeps its cost in the policy until that evicts it.
func (p *policy) drop(hash uint64) {
	select {
	case p.drops <- hash:
	default:
	}
}

// forget takes the hash out of the policy. It blocks while the queue of
// ristretto is full.
func (p *policy) forget(hash uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.cache != nil {
		p.cache.Del(hash)
	}
}
