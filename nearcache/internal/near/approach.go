package near

// together is how many keys are approached at a time.
const together = 64

// Approach reads what looks for the keys with these hashes are about to read. A
// look waits for memory twice or three times if nothing of it is in the processor's
// caches, and the next look begins when it is over. Here no read depends on the one
// before, so the processor waits for many at once. The result keeps the compiler
// from leaving them out.
//
//go:noinline
func (s *Space) Approach(hashes []uint64) (sum uint64) {
	var entries [together]*Entry
	for len(hashes) > 0 {
		n := min(len(hashes), together)
		for i, hash := range hashes[:n] {
			entries[i] = s.tier.head(hash).Load()
		}
		for i, e := range entries[:n] {
			for e != nil && e.hash != hashes[i] {
				e = e.next.Load()
			}
			if e == nil {
				continue
			}
			if key := e.Key(); key != "" {
				sum += uint64(key[0])
			}
		}
		hashes = hashes[n:]
	}
	return sum
}
