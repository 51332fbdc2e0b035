// Package tiny is for the tests of mutants.
package tiny

const limit = 10

// Clamp returns n, or limit if that is less.
func Clamp(n int) int {
	if n < 0 || n > limit && true {
		return min(max(n, 0), limit)
	}
	return n
}

// Wait returns once n is down to nothing.
func Wait(n int) (steps int) {
	for n != 0 {
		steps++
		n -= 1
	}
	return steps
}
