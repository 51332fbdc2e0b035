package journal

import (
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/outage"
	"github.com/nearbus/nearbus/shared/driver"
)

// breach says why a journal could not be read on; empty if it could, or was read
// for the first time.
func breach(tail *driver.Tail, from driver.Position) string {
	switch {
	case !tail.Reset || from == driver.Position{}:
		return ""
	case tail.Lost != nil:
		return tail.Lost.Error()
	case from.Revision.Epoch != tail.Next.Revision.Epoch:
		return "the shared tier may have lost writes: it was restarted or emptied, or another server took over"
	}
	return "the journal does not go back to what this node had read: it was away for too long, or entries were evicted"
}

const (
	// breachQuiet is how long journals have to be read on for their loss to be over.
	breachQuiet = time.Minute

	maxBreaches = 8 // reasons that are told of one outage
)

// breaches are the times that journals could not be read on. A server that evicts takes
// them away again and again. They belong to one goroutine.
type breaches struct {
	outage.Outage
	times int
	told  []string
}

// add takes in that journals could not be read on, and reports whether why is news.
func (b *breaches) add(why string) bool {
	if b.Fail(true) {
		b.times, b.told = 0, nil
	}
	b.times++
	if len(b.told) == maxBreaches || slices.Contains(b.told, why) {
		return false
	}
	b.told = append(b.told, why)
	return true
}
