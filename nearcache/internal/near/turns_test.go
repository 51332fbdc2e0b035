package near_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared/driver"
)

// TestFenced_InTurnBesideAWrittenNeighbour: readers of a keep coming, each read overlaps
// the next one, and all find one revision. A neighbour of the stripe is written as often.
// One piece of news of a, long ago, fences its reads for ever: the neighbour has the stripe
// forget what reads of a find.
func TestFenced_InTurnBesideAWrittenNeighbour(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(fmt.Sprint(written), func(t *testing.T) {
			tier := newTier(t, near.Config{Bytes: 1 << 16})
			s := tier.Space(0)
			pair := neighbours(s, 2)
			a, b := pair[0], pair[1]
			r := driver.Revision{Epoch: 7, Number: 9}
			begun := tier.Stamp()
			s.Apply(a, s.Hash(a), near.News{Revision: r}) // the one piece of news
			near, rounds := false, 0
			for ; !near && rounds < 1000; rounds++ {
				if s.Valid(s.Hash(a), begun) {
					break // readers join it
				}
				next := tier.Stamp() // of a reader, who does not join what is fenced
				if written {
					s.Apply(b, s.Hash(b), newsOf(uint64(rounds+10)))
				}
				near = install(s, a, read(7, 9, begun, 1))
				begun = next
			}
			assert.Less(t, rounds, 1000, "reads that are fenced in turn")
		})
	}
}

func newsOf(n uint64) near.News { return near.News{Revision: driver.Revision{Epoch: 7, Number: n}} }
