package kinds

import (
	"fmt"
	"testing"
)

// TestKinds fails, and prints what everything returns.
func TestKinds(t *testing.T) {
	show := func(what string, do func() any) {
		defer func() {
			if p := recover(); p != nil {
				t.Error(what, "panics:", p)
			}
		}()
		t.Error(what, do())
	}
	show("script", func() any { return whole })
	truths := []bool{false, true}
	for _, a := range truths {
		for _, b := range truths {
			for _, c := range truths {
				show("logic", func() any { looks, all := logic(a, b, c); return fmt.Sprint(looks, all) })
			}
		}
	}
	for n := range 6 {
		show("numbers", func() any { return fmt.Sprint(numbers(int64(n), make([]int, n))) })
		show("flow", func() any { return flow(n) })
		show("sign", func() any { return sign(n - 2) })
		show("search", func() any { return search(n) })
		for m := range 4 {
			show("compare", func() any { return compare(int64(n), int64(m)) })
		}
	}
}
