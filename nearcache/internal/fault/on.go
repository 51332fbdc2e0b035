//go:build nearbus_faults

package fault

import "sync/atomic"

// Compiled says that mechanisms can be taken out of this program.
const Compiled = true

// Switches say which mechanisms are out. The zero value has all of them in.
type Switches uint32

// Without returns Switches with these mechanisms out.
func Without(out ...Mechanism) (s Switches) {
	for _, m := range out {
		s |= 1 << m
	}
	return s
}

// Off reports whether m is out.
func (s Switches) Off(m Mechanism) bool { return s&(1<<m) != 0 }

var process atomic.Uint32

// InProcess returns what is out in new nodes of this process.
func InProcess() Switches { return Switches(process.Load()) }

// SetInProcess takes mechanisms out of the nodes of this process that are opened
// from now on.
func SetInProcess(s Switches) { process.Store(uint32(s)) }
