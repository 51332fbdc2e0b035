package near

// ranks is how many classes of entries Hottest tells apart.
const ranks = 3 * (hitsMask + 1)

// rank returns how soon an entry with this state goes to others, by the rules of order: those of
// rank 0 go last. It reports false for one that is in no queue.
func rank(state uint32) (n int, ok bool) {
	unread := hitsMask - int(state&hitsMask)
	switch place(state) {
	case coreQueue:
		return unread, true
	case mainQueue:
		return hitsMask + 1 + 2*unread, true
	case probation:
		return hitsMask + 1 + 2*unread + 1, true
	default:
		return 0, false
	}
}

// Hottest returns up to n entries of s that live, those first that the order keeps longest. It
// walks through the whole index and takes no lock: entries that come, go or are hits meanwhile may
// be missing, or be where they were.
func (s *Space) Hottest(n int) []*Entry {
	t := s.tier
	now := t.coarseLocked()
	var found [ranks][]*Entry
	room := func(rank int) bool { // among those that are no worse
		left := n
		for i := range rank + 1 {
			left -= len(found[i])
		}
		return left > 0
	}
	for head := range t.heads {
		for e := t.heads[head].Load(); e != nil; e = e.next.Load() {
			if !s.Has(e) || !s.lives(e, now) {
				continue
			}
			if at, ok := rank(e.state.Load()); ok && room(at) {
				found[at] = append(found[at], e)
			}
		}
	}
	var hottest []*Entry
	for _, some := range found {
		hottest = append(hottest, some[:min(len(some), n-len(hottest))]...)
	}
	return hottest
}
