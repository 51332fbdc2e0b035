package coherence

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"

	"github.com/nearbus/nearbus/nearcache/internal/outage"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	// tierPatience is how long there has to be no answer before calls that only
	// took too long are told: one that does so now and then is no outage.
	tierPatience = time.Second

	// tierQuiet is how long no call may fail for an outage to be over: of several
	// servers one may be down, while others answer.
	tierQuiet = 5 * time.Second

	// refusalQuiet is how long nothing may be refused for a server to be one that takes
	// everything: where memory is scarce, some of many values find room.
	refusalQuiet = time.Minute
)

// refusal is the outage of a shared tier that answers, and takes no writes.
type refusal struct {
	outage.Outage
	full atomic.Bool // it takes what makes values absent
}

// observe takes in how a call of a shared tier without a journal ended. With a journal,
// reading it is what tells that the shared tier does not answer.
func (n *Node) observe(ctx context.Context, err error) {
	if n.Journal != nil {
		return
	}
	switch {
	case err == nil, errors.Is(err, shared.ErrRefused):
		if took, over := n.tierOutage.Succeed(); over {
			n.Options.Logger.Info("nearcache: the shared tier answers again", "after", took)
		}
	case shared.Unreachable(err) || tookTooLong(err) && !OutOfTime(ctx):
		if n.tierOutage.Fail(shared.Unreachable(err)) {
			n.Options.Logger.Warn("nearcache: the shared tier does not answer", "error", err)
		}
	}
}

// observeBreaker takes in how a call ended that the breaker may have refused.
func (n *Node) observeBreaker(err error) {
	switch {
	case errors.Is(err, shared.ErrOpen):
		if !n.breakerOutage.Fail(true) {
			return
		}
		cause := err
		if last := n.lastFailure.Load(); last != nil {
			cause = *last
		}
		n.Options.Logger.Warn("nearcache: the breaker of the shared tier is open: its calls fail at once", "error", cause)
	case err != nil:
		last := err // so that err need not be on the heap
		n.lastFailure.Store(&last)
	default:
		if took, over := n.breakerOutage.Succeed(); over {
			n.Options.Logger.Info("nearcache: the breaker of the shared tier is closed again", "after", took)
		}
	}
}

// observeStore takes in what became of a record of a kind that was to be stored. A server that
// takes no writes at all cannot have its journal read either, which is told: what is left
// to tell of one with a journal is that it is full.
func (n *Node) observeStore(kind driver.Kind, err error) {
	full := errors.Is(err, shared.ErrFull)
	switch {
	case full || n.Journal == nil && errors.Is(err, shared.ErrRefused):
		n.refusal.full.Store(full)
		if n.refusal.Fail(true) {
			n.Options.Logger.Warn("nearcache: the shared tier refuses to store", "error", err)
		}
	case err != nil, n.refusal.full.Load() && (kind == driver.KindTombstone || kind == driver.KindWatermark):
	default:
		if took, over := n.refusal.Succeed(); over {
			n.refusal.full.Store(false)
			n.Options.Logger.Info("nearcache: the shared tier stores again", "after", took)
		}
	}
}

// tookTooLong reports whether a call ended with err because there was no answer in
// time.
func tookTooLong(err error) bool {
	if errors.Is(err, shared.ErrTooLate) {
		return false // that is an answer
	}
	var broken net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &broken) && broken.Timeout()
}

// OutOfTime reports whether ctx has ended, or will in a moment: the deadline of a
// socket can pass before the context itself tells.
func OutOfTime(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// logGap logs a gap. That another process is gone is no loss of the bus: with a
// journal, which has what it sent last, it costs nothing. Of messages that cannot be read,
// which anybody may send, the bus tells itself.
func (n *Node) logGap(reason error) {
	switch {
	case errors.Is(reason, bus.ErrUnreadable):
	case !errors.Is(reason, bus.ErrPeerSilent):
		n.busOutage.Fail(true)
		n.Options.Logger.Warn("nearcache: lost the bus", "reason", reason)
	case n.Journal != nil:
		n.Options.Logger.Info("nearcache: another server has fallen silent", "reason", reason)
	default:
		n.Options.Logger.Warn("nearcache: another server has fallen silent, and the near tier was flushed", "reason", reason)
	}
}
