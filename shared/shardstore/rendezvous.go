package shardstore

// Keys are placed by rendezvous hashing, also called highest random weight
// (D. G. Thaler and C. V. Ravishankar, "Using name-based mappings to increase
// hit rates", IEEE/ACM Transactions on Networking 6(1), 1998): every pair of a
// key and a shard has a number, and the key is at home where its number is the
// highest. A shard that is added takes the keys for which its number beats the
// highest one, and changes nothing between the others.
//
// A shard of weight w has w numbers for each key, and the best one counts, so
// its share is in proportion to w. Only integers are compared: machines of
// different kinds must agree.

// hash is FNV-1a, 64 bits.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix makes every bit of the result depend on every bit of x (the finalizer of
// SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// score is the best number of a key for a shard, given their hashes.
func score(key, shard uint64, weight int) uint64 {
	best := uint64(0)
	for i := range weight {
		best = max(best, mix(mix(key)^mix(shard+uint64(i))))
	}
	return best
}

// home returns the member of m that the key with this hash is at home with. Of
// two that are equal it is the first by name.
func (m *shardMap) home(key uint64) *member {
	at, best := 0, uint64(0)
	for i := range m.Members {
		if s := score(key, m.Members[i].hash, m.Members[i].Weight); s > best {
			at, best = i, s
		}
	}
	return &m.Members[at]
}
