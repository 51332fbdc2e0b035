package nearcachetest

import "github.com/nearbus/nearbus/nearcache/internal/fault"

// Faults says which mechanisms are switched off.
type Faults = fault.Set

// Break switches mechanisms off for the nodes of this process that are opened
// from now on, so that a test of coherence can show that it finds what they are
// for. The zero Faults switches all of them on.
func Break(f Faults) { fault.SetInProcess(f) }
