package nearcache

import (
	"errors"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/shared"
)

// outage is something that a node can do without for a time. It tells the log
// once that it is gone, and once that it is back. It belongs to one goroutine.
type outage struct {
	began time.Time // zero: there is none
}

// begin reports whether the outage is a new one.
func (o *outage) begin() bool {
	if !o.began.IsZero() {
		return false
	}
	o.began = time.Now()
	return true
}

// end returns how long the outage took, and whether there was one.
func (o *outage) end() (took time.Duration, ended bool) {
	if o.began.IsZero() {
		return 0, false
	}
	took, o.began = time.Since(o.began).Round(time.Millisecond), time.Time{}
	return took, true
}

// tellGap logs a gap. That another process is gone is no loss of the bus: with a
// journal, which has what it sent last, it costs nothing.
func (n *Node) tellGap(reason error) {
	switch {
	case !errors.Is(reason, bus.ErrPeerSilent):
		n.outage.begin()
		n.opts.Logger.Warn("nearcache: lost the bus", "reason", reason)
	case n.repairs != nil:
		n.opts.Logger.Info("nearcache: another server has fallen silent", "reason", reason)
	default:
		n.opts.Logger.Warn("nearcache: another server has fallen silent, and the near tier was flushed", "reason", reason)
	}
}

// breach says why a journal could not be read on; empty if it could, or was read
// for the first time.
func breach(reset bool, from, next shared.Position) string {
	switch {
	case !reset || from == shared.Position{}:
		return ""
	case from.Revision.Epoch != next.Revision.Epoch:
		return "the shared tier may have lost writes: it was restarted or emptied, or another server took over"
	}
	return "the journal does not go back to what this node had read: it was away for too long, or entries were evicted"
}
