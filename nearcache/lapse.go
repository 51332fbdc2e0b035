package nearcache

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared"
)

const (
	// lapseSilence is how long there has to be no answer before calls that only
	// took too long are told: one that does so now and then is no outage.
	lapseSilence = time.Second

	// lapseQuiet is how long no call may fail for an outage to be over: of several
	// servers one may be down, while others answer.
	lapseQuiet = 5 * time.Second
)

// lapse tells the log once that a shared tier without a journal does not answer, and
// once that it does again. With a journal, reading it is what tells.
type lapse struct {
	doubt atomic.Bool // an answer would be news; for callers

	mu       sync.Mutex // protects the fields below
	outage   outage
	silent   time.Time // since when there were calls that took too long, and no answer; zero: there are none
	failed   time.Time // when a call failed last
	answered time.Time // when one was answered first since then; zero: none was
}

// heard takes in how a call of the shared tier ended. While all is well, that is one
// atomic load.
func (n *Node) heard(ctx context.Context, err error) {
	if n.repairs != nil {
		return
	}
	l := &n.lapse
	switch {
	case err == nil:
		if !l.doubt.Load() {
			return
		}
		if took, ended := l.answer(); ended {
			n.opts.Logger.Info("nearcache: the shared tier answers again", "after", took)
		}
	case shared.Unreachable(err) || tookTooLong(err) && !ended(ctx):
		if l.fail(shared.Unreachable(err)) {
			n.opts.Logger.Warn("nearcache: the shared tier does not answer", "error", err)
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

// fail takes in a failure, and reports whether an outage begins with it.
func (l *lapse) fail(unreachable bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.doubt.Store(true)
	l.failed, l.answered = now, time.Time{}
	if l.silent.IsZero() {
		l.silent = now
	}
	if !unreachable && now.Sub(l.silent) < lapseSilence {
		return false
	}
	return l.outage.begin()
}

// answer takes in an answer, and reports whether an outage is over, and how long it
// was.
func (l *lapse) answer() (took time.Duration, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.silent = time.Time{}
	if l.answered.IsZero() {
		l.answered = now
	}
	if !l.outage.began.IsZero() && now.Sub(l.failed) < lapseQuiet {
		return 0, false
	}
	l.doubt.Store(false)
	took, over = l.outage.end()
	return took - now.Sub(l.answered).Round(time.Millisecond), over
}
