package driver

import "math/rand/v2"

// NewNonce returns a number that no other caller has: a write id or a lease
// token.
func NewNonce() uint64 {
	for {
		if n := rand.Uint64(); n != 0 {
			return n
		}
	}
}
