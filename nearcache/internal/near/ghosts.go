package near

// ghosts are fingerprints of keys that left not long ago, about two for each entry. Each
// bucket is a first-in first-out queue of its own. A key that is taken for another one
// is kept longer than it should be, which happens to one in 8,192.
type ghosts struct {
	fresh []ghostBucket // nil until something has left
}

type ghostBucket [ghostsInBucket]uint16 // latest first; 0 is none

const (
	ghostsInBucket = 8
	ghostsForEach  = 2
)

// fit makes room for the ghosts of a tier of so many entries. They are forgotten if there
// is no room, or not half of what they need.
func (g *ghosts) fit(entries int) {
	if need := entries*ghostsForEach/ghostsInBucket + 1; need > 2*len(g.fresh) {
		g.fresh = make([]ghostBucket, need)
	}
}

// of returns where the ghost of a hash is, if it is one.
func (g *ghosts) of(hash uint64) (bucket *ghostBucket, print uint16) {
	return &g.fresh[(hash>>32)*uint64(len(g.fresh))>>32], max(1, uint16(hash>>16))
}

func (g *ghosts) add(hash uint64) {
	if g.fresh == nil {
		return
	}
	bucket, print := g.of(hash)
	copy(bucket[1:], bucket[:])
	bucket[0] = print
}

// take reports whether the hash is a ghost, which it is not from then on.
func (g *ghosts) take(hash uint64) bool {
	if g.fresh == nil {
		return false
	}
	bucket, print := g.of(hash)
	for i, p := range bucket {
		if p == print {
			copy(bucket[i:], bucket[i+1:])
			bucket[ghostsInBucket-1] = 0
			return true
		}
	}
	return false
}
