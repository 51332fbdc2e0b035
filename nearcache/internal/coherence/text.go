package coherence

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// textJob is a write that the worker repeats in the shared tier, because the
// news of it came from somebody who changed nothing there.
type textJob struct {
	cache *Keyspace
	op    bus.Op
	key   string
}

// jobTimeout bounds one job.
const jobTimeout = 5 * time.Second

// signal leaves a signal in a channel with room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (n *Node) runJobs() {
	for {
		select {
		case <-n.Context.Done():
			return
		case c := <-n.jobs:
			n.runJob(c)
		case <-n.overflows:
			for _, c := range n.caches.all() {
				if c.takeOverflow() {
					n.runJob(textJob{cache: c, op: bus.OpClear})
				}
			}
		}
	}
}

func (n *Node) runJob(c textJob) {
	ctx, cancel := context.WithTimeout(n.own, jobTimeout)
	defer cancel()
	if err := c.cache.applyText(ctx, c); err != nil {
		n.FailedTexts.Add(1)
		if n.textOutage.Fail(true) {
			n.Options.Logger.Error("nearcache: a plain-text message was not carried out in the shared tier", "error", err)
		}
	} else if took, over := n.textOutage.Succeed(); over {
		n.Options.Logger.Info("nearcache: plain-text messages are carried out again", "after", took)
	}
}
