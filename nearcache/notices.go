package nearcache

import (
	"errors"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/shared"
)

// tellGap logs a gap. That another process is gone is no loss of the bus: with a
// journal, which has what it sent last, it costs nothing. Of messages that cannot be read,
// which anybody may send, the bus tells itself.
func (n *Node) tellGap(reason error) {
	switch {
	case errors.Is(reason, bus.ErrUnreadable):
	case !errors.Is(reason, bus.ErrPeerSilent):
		n.outage.fail(true)
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
