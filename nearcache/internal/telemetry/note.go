package telemetry

import "time"

// Kind says what a [Note] tells.
type Kind uint8

// The kinds of notes. The order is that of nearcache.ObservationKind.
const (
	Load Kind = iota + 1
	SharedRead
	SharedWrite
	Publish
	Wait
	Repair

	Applied
	Gap
	Repaired
	Reset
	TrustLost
	TrustWon
	StaleServed
	Pending

	// Kinds is one more than the last kind.
	Kinds
)

// Note is one thing that a node did, or that happened to it. The fields are those of
// nearcache.Observation.
type Note struct {
	Kind  Kind
	Cache string
	Count int
	At    time.Time
	Took  time.Duration
	Err   error
}
