//go:build nearbus_faults

package nearcachetest

import "github.com/nearbus/nearbus/nearcache/internal/fault"

// Faults says which mechanisms are out. The zero Faults has all of them in. Like
// [Break], it is there only in programs that are built with the tag nearbus_faults.
type Faults = fault.Switches

// Mechanism is what can be taken out.
type Mechanism = fault.Mechanism

// The mechanisms.
const (
	Marks        = fault.Marks
	CacheMark    = fault.CacheMark
	TagMarks     = fault.TagMarks
	Clock        = fault.Clock
	Watermarks   = fault.Watermarks
	Lost         = fault.Lost
	Losses       = fault.Losses
	Floors       = fault.Floors
	Overlaps     = fault.Overlaps
	OwnWrites    = fault.OwnWrites
	PassedNews   = fault.PassedNews
	Removals     = fault.Removals
	Joins        = fault.Joins
	Journal      = fault.Journal
	Confirmation = fault.Confirmation
	Proofs       = fault.Proofs
	Leases       = fault.Leases
	Barriers     = fault.Barriers
	Expectation  = fault.Expectation
	Debts        = fault.Debts
)

// Without returns Faults with these mechanisms out.
func Without(out ...Mechanism) Faults { return fault.Without(out...) }

// Break takes mechanisms out of the nodes of this process that are opened from now
// on, so that a test of coherence can show that it finds what they are for.
func Break(f Faults) { fault.SetInProcess(f) }
