package simulate

import "math/rand/v2"

// seed is what all choices of a run follow from. Each choice has a place: what it is
// about and a few numbers. So a choice does not depend on how many others were made
// before it, and goroutines that run in another order draw the same.
type seed uint64

// mix returns 64 bits for a place.
func (s seed) mix(about string, numbers ...uint64) uint64 {
	h := uint64(s) + 0x9e3779b97f4a7c15
	for i := range len(about) {
		h = scramble(h ^ uint64(about[i]))
	}
	for _, n := range numbers {
		h = scramble(h ^ n)
	}
	return h
}

// scramble is the finalizer of SplitMix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// dice returns a source of choices for one place.
func (s seed) dice(about string, numbers ...uint64) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(s), s.mix(about, numbers...)))
}
