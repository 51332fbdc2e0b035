package near

// maxScan is how many chains one sample looks at.
const maxScan = 1 << 16

// Sample returns up to n entries that may be served, from the chains that follow
// from, and where to go on: sample after sample comes by every entry in turn.
// Their order has nothing to do with their keys.
func (t *Tier) Sample(from uint64, n int) (entries []*Entry, next uint64) {
	mask := uint64(len(t.heads) - 1)
	for range min(maxScan, len(t.heads)) {
		if len(entries) >= n {
			break
		}
		for e := t.heads[from&mask].Load(); e != nil; e = e.next.Load() {
			if len(entries) < n && t.InPlace(e) {
				entries = append(entries, e)
			}
		}
		from++
	}
	return entries, from
}

// InPlace reports whether a reader who comes now is given e.
func (t *Tier) InPlace(e *Entry) bool { return t.spaceOf(e).Find(e.Key(), e.hash) == e }

// Has reports whether e is an entry of s.
func (s *Space) Has(e *Entry) bool { return e.space == s.number }
