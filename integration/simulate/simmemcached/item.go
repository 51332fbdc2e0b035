package simmemcached

// An item is what is under a key.
type item struct {
	key     string
	flags   uint32
	value   string
	cas     uint64
	expires int64 // s since the process began, 0 for never
}

// size is what Memcached counts for an item of this kind.
func (s *Server) size(key string, flags uint32, length int) int {
	size := 48 + 8 + len(key) + 1 + length + 2
	if flags != 0 {
		size += 4
	}
	return size
}

// maxRelative is the longest time, in seconds, that counts from now. What is longer is a
// time of day.
const maxRelative = 30 * 24 * 60 * 60

// nowLocked returns how old the process believes to be, in seconds.
func (s *Server) nowLocked() int64 { return s.opts.Now().Unix() - s.began.Unix() + olderThanItIs }

// expiryLocked returns when what has this expiration ends.
func (s *Server) expiryLocked(expiration int64) int64 {
	switch {
	case expiration == 0:
		return 0
	case expiration < 0:
		return 1
	case expiration > maxRelative:
		return max(expiration-s.started, 1)
	}
	return s.nowLocked() + expiration
}

// lookLocked returns the item under key, or nil. One that has expired is removed.
func (s *Server) lookLocked(key string) *item {
	e := s.items[key]
	if e == nil {
		return nil
	}
	it := e.Value.(*item)
	if it.expires != 0 && it.expires <= s.nowLocked() {
		s.removeLocked(key)
		return nil
	}
	s.recent.MoveToFront(e)
	return it
}

// putLocked stores it in place of what is there.
func (s *Server) putLocked(it *item) {
	s.removeLocked(it.key)
	s.cas++
	it.cas = s.cas
	s.items[it.key] = s.recent.PushFront(it)
	s.bytes += s.size(it.key, it.flags, len(it.value))
	s.evictLocked()
}

func (s *Server) removeLocked(key string) bool {
	e := s.items[key]
	if e == nil {
		return false
	}
	it := s.recent.Remove(e).(*item)
	delete(s.items, key)
	s.bytes -= s.size(it.key, it.flags, len(it.value))
	return true
}

func (s *Server) flushLocked() {
	clear(s.items)
	s.recent.Init()
	s.bytes = 0
	s.cas++
}

// evictLocked makes room for what was stored.
func (s *Server) evictLocked() {
	for s.maxMemory > 0 && s.bytes > s.maxMemory && s.recent.Len() > 0 {
		s.removeLocked(s.recent.Back().Value.(*item).key)
	}
}
