package coherence

import (
	"context"
	"strings"
	"sync"

	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
)

// Close takes k out of its node: what is near goes, loads under way end, and their leases are
// given back. It first waits until every invalidation that could not be delivered has been, and
// then for writes under way, until ctx ends at the latest. Another call does nothing. It returns
// how many invalidations were pending, which end with k.
func (k *Keyspace) Close(ctx context.Context) (pending int) {
	for k.Pending.Len() > 0 && k.Context.Err() == nil && pause.Sleep(ctx, drainPause) == nil {
	}
	k.writing.close(ctx)
	if !k.node.leave(k) {
		return 0
	}
	pending = k.Pending.Len()
	k.cancel() // before leases are looked for: who gets one later gives it back
	k.node.heard.forget(k)
	k.Space.Close()
	if k.node.Tier != nil {
		k.node.Tier.releaseLeasesOf(k.Name)
	}
	return pending
}

// leave takes k out, and reports whether it was there. Its name is free then.
func (n *Node) leave(k *Keyspace) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.caches.remove(k) {
		return false
	}
	if n.census != nil {
		n.census.trigger()
	}
	return true
}

// BeginWrite is called before a write of the keyspace begins, and EndWrite after it has ended,
// unless BeginWrite returns an error: [ErrClosed].
func (k *Keyspace) BeginWrite() error {
	if !k.writing.begin() {
		return ErrClosed
	}
	return nil
}

// EndWrite is called after a write. A keyspace that was closed meanwhile did not wait for it, or not
// to its end.
func (k *Keyspace) EndWrite() {
	if closed := k.writing.end(); closed {
		k.node.forgetOf(k.Name)
	}
}

// forgetOf makes all suspect that the keyspace of a name has near, and what it knows of records: one
// of that name was closed, and wrote after that.
func (n *Node) forgetOf(name string) {
	if k := n.caches.find(name); k != nil {
		k.ForgetClock()
		k.Space.Clear()
	}
}

// writing is how many writes are under way, until no more may begin. Whoever opens another
// keyspace of the name must not miss one of them: nodes do not hear themselves. So Close waits for
// them, and those that it has no time for end what is near then, see EndWrite.
type writing struct {
	mu     sync.Mutex // protects the fields below
	n      int
	closed bool
	quiet  chan struct{} // closed once there are none; nil if nobody waits for that
}

func (w *writing) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.n++
	return true
}

// end reports whether close was called before.
func (w *writing) end() (closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.quiet != nil {
		close(w.quiet)
		w.quiet = nil
	}
	return w.closed
}

// close lets no more writes begin, and waits until there are none, or ctx ends.
func (w *writing) close(ctx context.Context) {
	w.mu.Lock()
	w.closed = true
	if w.n > 0 && w.quiet == nil {
		w.quiet = make(chan struct{})
	}
	quiet := w.quiet
	w.mu.Unlock()
	if quiet == nil {
		return
	}
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}

// releaseLeasesOf gives back the leases of the keys of a keyspace whose context has ended. Who has
// asked for leases by then gives them back alone: see Acquire.
func (r *observedTier) releaseLeasesOf(name string) {
	r.part(r.node.own, r.leases.of(name))
}

// of returns the leases of the keys of a keyspace that are held.
func (l *leases) of(name string) (held []shared.Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for token, c := range l.held {
		if strings.HasPrefix(c.Key, name+":") || strings.HasPrefix(c.Key, name+refreshInfix) {
			held = append(held, c)
			delete(l.held, token)
		}
	}
	return held
}
