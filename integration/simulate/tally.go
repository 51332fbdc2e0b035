package simulate

import "time"

// Tally is what came of all faults of a kind.
type Tally struct {
	Injected, Reads int
	Worst, Bound    time.Duration
}
