package nearcache

import (
	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
)

// NewBrokenNode is NewNode without the mechanisms that are switched off.
func NewBrokenNode(tier *shared.Tier, b *bus.Bus, opts NodeOptions, off fault.Switches) (*Node, error) {
	return newNode(tier, b, opts, off)
}

// Jump does what is done when the machine slept.
func Jump(n *Node) { n.near.Jump() }

// The ways by which a value arrives, and the news that may end it.
type (
	Way  = way
	News = news
)

const (
	WayRecord, WayAbsentRecord, WayKept, WayRefreshRecord = wayRecord, wayAbsentRecord, wayKept, wayRefreshRecord
	WayWritten, WayLoaded, WayLoadedAbsent, WayRefreshed  = wayWritten, wayLoaded, wayLoadedAbsent, wayRefreshed
	WayUnstored, WayJoined, Ways                          = wayUnstored, wayJoined, ways

	NewsWrite, NewsRead, NewsGiven, NewsClear, NewsTag, NewsLoss, Newses = newsWrite, newsRead, newsGiven, newsClear, newsTag, newsLoss, newses
)
