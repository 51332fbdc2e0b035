package nearcache

import (
	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/shared"
)

// Faults switches mechanisms off.
type Faults struct {
	IgnoreMarks    bool // install values whatever was invalidated while they were loaded
	TrustOwnWrites bool // install own writes whatever came between send and answer
	PassUnseen     bool // give fenced values away and keep older ones
	JoinAny        bool // join loads that began before an invalidation
	NoJournal      bool // do as if the shared tier kept none
	NoLeases       bool // load and store without a lease
	NoFloors       bool // forget what was loaded and not stored
	NoDebts        bool // forget what could not be delivered
}

// NewBrokenNode is NewNode without the mechanisms that are switched off.
func NewBrokenNode(tier *shared.Tier, b *bus.Bus, opts NodeOptions, off Faults) (*Node, error) {
	return newNode(tier, b, opts, faults{
		ignoreMarks: off.IgnoreMarks, trustOwnWrites: off.TrustOwnWrites, passUnseen: off.PassUnseen,
		joinAny: off.JoinAny, noLeases: off.NoLeases, noJournal: off.NoJournal,
		noDebts: off.NoDebts, noFloors: off.NoFloors,
	})
}
