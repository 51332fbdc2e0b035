package coherence

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	// sweepPause is how long a fleet waits between two looks at the watermarks of a cache,
	// on average. With 256 slots a look, all slots have their turn in two days.
	sweepPause = 10 * time.Minute

	// sweepSlots is how many slots are looked at together.
	sweepSlots = 256

	// SweepAge is how old a watermark is before it is swept. No value rests on that: it
	// keeps the cost low, which is a load for each living value of the slot.
	SweepAge = 30 * 24 * time.Hour

	// sweepProtocol is the protocol version of the first processes whose writes heed what
	// was swept.
	sweepProtocol = 2
)

// runSweep takes away old watermarks, which have no TTL, from the shared tier: those that
// nobody has raised for SweepAge. The slots are drawn by chance, and so is the node that
// looks, so nothing is agreed on and two that look at the same slots do no harm. It ends with
// the node.
func (n *Node) runSweep() {
	for pause.Sleep(n.own, sweepPause/2+rand.N(sweepPause)) == nil {
		if !n.maySweep() {
			continue
		}
		first := rand.N(uint32(generation.Slots/sweepSlots)) * sweepSlots
		for _, k := range n.caches.all() {
			// What could not be swept has another turn.
			_, _ = k.Sweep(n.own, first, first+sweepSlots, SweepAge)
		}
	}
}

// maySweep reports whether it is the turn of this node, which is one of those that it hears.
// It is nobody's while a process is among them that knows nothing of the sweep.
func (n *Node) maySweep() bool {
	if n.Bus == nil {
		return true
	}
	fleet := 1
	for _, p := range n.Bus.Peers() {
		if p.Version < sweepProtocol {
			return false
		}
		if !p.Silent {
			fleet++
		}
	}
	return rand.IntN(fleet) == 0
}

// Sweep takes away the watermarks of slots from first to end that were not raised for age,
// and returns how many there were. It takes a read, and a fill if there are any.
//
// A watermark that is not there counts as raised just now, so taking it away ends values and
// brings none back. The store sees to it that what is written in its place is no lower: see
// [driver.Sweeper]. A watermark that is raised meanwhile has another nonce, and stays.
func (rs *Records) Sweep(ctx context.Context, first, end uint32, age time.Duration) (swept int, err error) {
	if clock, _, _ := rs.Tags.Get(); clock == 0 {
		return 0, nil // no tag was ever invalidated
	}
	keys := make([]string, 0, end-first)
	for slot := first; slot < end; slot++ {
		keys = append(keys, rs.slotKey(slot))
	}
	for part := range slices.Chunk(keys, MaxPart) {
		n, err := rs.sweepSome(ctx, part, age)
		swept += n
		if err != nil {
			return swept, err
		}
	}
	return swept, nil
}

func (rs *Records) sweepSome(ctx context.Context, keys []string, age time.Duration) (swept int, err error) {
	found, err := rs.node.Tier.Read(ctx, keys)
	if err != nil {
		return 0, err
	}
	var puts []shared.Put
	for i, key := range keys {
		if oldest := rs.node.Tier.Newest(key) - uint64(age.Microseconds()); !sweepable(&found[i], oldest) {
			continue
		}
		puts = append(puts, shared.Put{
			Key: key, Record: driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()},
			Expect: found[i].Nonce, TTL: time.Second,
		})
	}
	if len(puts) == 0 {
		return 0, nil
	}
	for _, r := range rs.node.Tier.Fill(ctx, puts) {
		if r.Err == nil {
			swept++
		}
	}
	return swept, nil
}

// sweepable reports whether the watermark found was raised before oldest. One whose clock is
// later stays: that clock would count for all slots of its group.
func sweepable(f *shared.Found, oldest uint64) bool {
	return f.Err == nil && f.Kind == driver.KindWatermark && f.Nonce != 0 &&
		max(f.Revision.Number, f.Clock) < oldest
}
