package simredis

// Policy is what a server does when its memory is full.
type Policy string

// Policies, as maxmemory-policy has them.
const (
	NoEviction     Policy = "noeviction"
	AllKeysLRU     Policy = "allkeys-lru"
	AllKeysRandom  Policy = "allkeys-random"
	VolatileLRU    Policy = "volatile-lru"
	VolatileRandom Policy = "volatile-random"
	VolatileTTL    Policy = "volatile-ttl"
)

// SetMaxMemory bounds the memory by so many bytes, which keys, values and 64 bytes for
// each key count for; 0 is no bound. What is too much goes with the next command.
func (s *Server) SetMaxMemory(bytes int, policy Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxMemory, s.policy = bytes, policy
}

// Memory returns how many bytes keys and values count for.
func (s *Server) Memory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.bytes
}

// Evict evicts up to so many keys by a policy, whatever memory they take, and returns
// their names.
func (s *Server) Evict(n int, policy Policy) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		e := s.victimLocked(policy)
		if e == nil {
			break
		}
		s.removeLocked(e)
		keys = append(keys, e.key)
	}
	s.shipLocked()
	return keys
}

// evictLocked makes room, and reports whether there is too little.
func (s *Server) evictLocked() (full bool) {
	if s.maxMemory == 0 || s.primary != nil {
		return false
	}
	for s.data.bytes > s.maxMemory {
		e := s.victimLocked(s.policy)
		if e == nil {
			return true
		}
		s.removeLocked(e)
	}
	return false
}

func (s *Server) removeLocked(e *entry) {
	s.data.remove(e.key)
	s.propagate("DEL", e.key)
}

// victimLocked returns what is to be evicted, or nil.
func (s *Server) victimLocked(policy Policy) *entry {
	older := func(a, b *entry) bool { return a.used < b.used }
	switch policy {
	case AllKeysLRU:
		return s.data.sample(s.random, allKeys, older)
	case AllKeysRandom:
		return s.data.sample(s.random, allKeys, nil)
	case VolatileLRU:
		return s.data.sample(s.random, volatileKeys, older)
	case VolatileRandom:
		return s.data.sample(s.random, volatileKeys, nil)
	case VolatileTTL:
		return s.data.sample(s.random, volatileKeys, func(a, b *entry) bool { return a.expires < b.expires })
	}
	return nil
}
