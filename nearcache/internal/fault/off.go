//go:build !nearbus_faults

package fault

// Compiled says that mechanisms can be taken out of this program.
const Compiled = false

// Switches say which mechanisms are out: none.
type Switches struct{}

// Without returns Switches with all mechanisms in.
func Without(...Mechanism) Switches { return Switches{} }

// Off reports whether m is out.
func (Switches) Off(Mechanism) bool { return false }

// InProcess returns what is out in new nodes of this process.
func InProcess() Switches { return Switches{} }
