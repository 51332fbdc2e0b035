// Package kinds has code that every kind of mutant changes.
package kinds

import (
	"bytes"
	_ "embed"
	"sync/atomic"
)

const limit = 3

var (
	//go:embed kinds.lua
	script string
)

// whole is made of the script before main begins.
var whole = "-- \n" + script

func compare(a, b int64) []bool {
	return []bool{a < b, a <= b, a > b, a >= b, a == b, a != b, a < b == (b > 1)}
}

// logic notes what is looked at, and in which order.
func logic(a, b, c bool) (looks string, all []bool) {
	look := func(name string, x bool) bool {
		looks += name
		return x
	}
	all = append(all, (look("a", a) && look("b", b)) && look("c", c), look("d", a) || look("e", b) && look("f", c), (look("g", a) || look("h", b)) && !c)
	return looks, all
}

func numbers(n int64, s []int) (int64, float64, uint8, int) {
	var counted atomic.Int64
	counted.Add(-1)
	const half = 2
	f := 1.5
	if n > limit {
		f *= 2
	}
	room := bytes.MinRead * 2
	return max(n, limit, counted.Load()) + min(n-1, 2)<<1 + int64(len(s)/half), f, 255, room + s[len(s)-1]
}

func flow(n int) (steps []string) {
	step := func(s string) { steps = append(steps, s) }
	defer step("deferred")
	for i := 0; i < n; i++ {
		if i == 1 {
			step("skipped")
			continue
		}
		switch {
		case i > 3:
			step("left")
			return steps
		case i == 2:
			step("two")
			break
		default:
			step("other")
		}
	}
	return steps
}

func sign(n int) string {
	if n < 0 {
		return "less"
	} else if n > 0 {
		return "more"
	} else {
		return "nothing"
	}
}

func search(n int) int {
	for found := false; ; n++ {
		if n%4 == 0 {
			found = true
		}
		if found {
			return n
		}
	}
}
