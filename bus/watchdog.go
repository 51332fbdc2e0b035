package bus

import (
	"sync"
	"time"
)

// watchdog ends the receiving of a subscription when no own heartbeat comes back for too long.
type watchdog struct {
	mu      sync.Mutex // protects the following fields
	timer   *time.Timer
	due     time.Time // when it ends the receiving
	waits   bool      // a heartbeat is wanted that is newer than asked
	asked   int64     // moment of the latest probe
	timeout time.Duration
}

// watch has end called after timeout, unless fed. It returns what stops that.
func (w *watchdog) watch(timeout time.Duration, end func()) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	timer := time.AfterFunc(timeout, end)
	w.timer, w.due, w.waits, w.timeout = timer, time.Now().Add(timeout), false, timeout
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		timer.Stop()
		w.timer, w.waits = nil, false
	}
}

// feed takes in that a heartbeat came back that was sent at a moment: the next one may take so
// long. One from before a probe says nothing of it.
func (w *watchdog) feed(sent int64, left time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil || left <= 0 || w.waits && sent <= w.asked {
		return
	}
	w.waits = false
	w.due = time.Now().Add(left)
	w.timer.Reset(left)
}

// probe has a heartbeat that is sent from now on come back within timeout. It reports whether
// that is wanted only now, and not more often than each pause.
func (w *watchdog) probe(now int64, pause time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil || w.waits || w.asked > 0 && now-w.asked < int64(pause) {
		return false
	}
	w.waits, w.asked = true, now
	if time.Until(w.due) > w.timeout {
		w.due = time.Now().Add(w.timeout)
		w.timer.Reset(w.timeout)
	}
	return true
}

// probing reports whether a heartbeat is wanted.
func (w *watchdog) probing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waits
}

// Probe has the subscription checked now, by a heartbeat that must come back within
// [Options.HeartbeatTimeout], or it is made anew. It does not wait. Call it when something says
// that the channel is not heard: in a large fleet the next heartbeat may be far. While one is
// waited for, and more often than each [Options.HeartbeatInterval], it does nothing.
func (b *Bus) Probe() {
	if sub := b.subscriber(); sub != nil && sub.watchdog.probe(b.moment(), b.opts.HeartbeatInterval) {
		signal(b.beat)
	}
}
