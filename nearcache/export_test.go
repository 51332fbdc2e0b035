package nearcache

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
)

// NewBrokenNode is NewNode without the mechanisms that are switched off.
func NewBrokenNode(tier *shared.Tier, b *bus.Bus, opts NodeOptions, off fault.Switches) (*Node, error) {
	return newNode(tier, b, opts, off)
}

// DefaultStaleness is MaxStaleness of a node whose options do not tell.
var DefaultStaleness = StalenessFor(0)

// StalenessFor is MaxStaleness of a node whose options tell JournalInterval alone.
func StalenessFor(interval time.Duration) time.Duration {
	return NodeOptions{JournalInterval: interval}.withDefaults().MaxStaleness
}

// Jump does what is done when the machine slept.
func Jump(n *Node) { n.core.Near.Jump() }

// The ways by which a value arrives, and the news that may end it.
type (
	Way  = coherence.Way
	News = coherence.News
)

const (
	WayRecord, WayAbsentRecord, WayKept, WayRefreshRecord = coherence.WayRecord, coherence.WayAbsentRecord, coherence.WayKept, coherence.WayRefreshRecord
	WayWritten, WayLoaded, WayLoadedAbsent, WayRefreshed  = coherence.WayWritten, coherence.WayLoaded, coherence.WayLoadedAbsent, coherence.WayRefreshed
	WayUnstored, WayJoined, Ways                          = coherence.WayUnstored, coherence.WayJoined, coherence.Ways

	NewsWrite, NewsRead, NewsGiven, NewsClear, NewsTag, NewsLoss, Newses = coherence.NewsWrite, coherence.NewsRead, coherence.NewsGiven, coherence.NewsClear, coherence.NewsTag, coherence.NewsLoss, coherence.Newses
)

// SweepTag sweeps the watermark of the slot of a tag if it is older than age, and returns how
// many were swept.
func SweepTag[V any](ctx context.Context, c *Cache[V], tag string, age time.Duration) (int, error) {
	slot := generation.SlotOf(tag)
	return c.keys.Sweep(ctx, slot, slot+1, age)
}
