package coherence

import (
	"errors"

	"github.com/nearbus/nearbus/bus"
)

// tellGap logs a gap. That another process is gone is no loss of the bus: with a
// journal, which has what it sent last, it costs nothing. Of messages that cannot be read,
// which anybody may send, the bus tells itself.
func (n *Node) tellGap(reason error) {
	switch {
	case errors.Is(reason, bus.ErrUnreadable):
	case !errors.Is(reason, bus.ErrPeerSilent):
		n.outage.Fail(true)
		n.Options.Logger.Warn("nearcache: lost the bus", "reason", reason)
	case n.Journal != nil:
		n.Options.Logger.Info("nearcache: another server has fallen silent", "reason", reason)
	default:
		n.Options.Logger.Warn("nearcache: another server has fallen silent, and the near tier was flushed", "reason", reason)
	}
}
