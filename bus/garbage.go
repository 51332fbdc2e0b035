package bus

import "time"

// garbageQuiet is how long nothing unreadable may come for that to be over.
const garbageQuiet = time.Minute

// garbage is what comes on the channel and cannot be read, while such comes: anybody may
// publish it, and as often as they like. It belongs to one goroutine.
type garbage struct {
	began, latest time.Time // zero: there is none
	count         uint64
}

// add takes in that something came, and reports whether it is the first.
func (g *garbage) add() (first bool) {
	g.latest = time.Now()
	if first = g.began.IsZero(); first {
		g.began = g.latest
	}
	g.count++
	return first
}

// end reports whether nothing has come for long enough, and how much had, for how long.
func (g *garbage) end() (count uint64, took time.Duration, over bool) {
	if g.began.IsZero() || time.Since(g.latest) < garbageQuiet {
		return 0, 0, false
	}
	count, took = g.count, g.latest.Sub(g.began).Round(time.Millisecond)
	*g = garbage{}
	return count, took, true
}
