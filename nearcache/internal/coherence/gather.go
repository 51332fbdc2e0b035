package coherence

import (
	"context"
	"slices"
	"sync"

	"github.com/nearbus/nearbus/bus"
)

// gathering is what several writes, each of a caller of its own, tell the other nodes in one
// message: it goes out once each of them has come to that, or has ended.
type gathering struct {
	ctx  context.Context
	node *Node

	mu   sync.Mutex // protects the fields below
	left int        // writes that have neither come nor ended
	invs []bus.Invalidation
	sent chan struct{} // closed when err is set
	err  error
}

// member is one of the writes of a gathering.
type member struct {
	*gathering
	came sync.Once
}

// memberKey is the key of a member in the context of its write.
type memberKey struct{}

// Together runs writes at the same time, and has them tell the other nodes in one message. A
// write passes its context on, and waits for all that it begins.
func (n *Node) Together(ctx context.Context, writes []func(ctx context.Context)) {
	g := &gathering{ctx: ctx, node: n, left: len(writes), sent: make(chan struct{})}
	var all sync.WaitGroup
	for _, write := range writes {
		all.Go(func() { // ends with its write
			m := &member{gathering: g}
			defer m.came.Do(func() { g.come(nil) }) // it had nothing to tell
			write(context.WithValue(ctx, memberKey{}, m))
		})
	}
	all.Wait()
}

// memberOf returns the member that a write with ctx is, nil if it is none.
func memberOf(ctx context.Context) *member {
	m, _ := ctx.Value(memberKey{}).(*member)
	return m
}

// come takes in what a write tells, and sends all if it is the last.
func (g *gathering) come(invs []bus.Invalidation) {
	g.mu.Lock()
	g.invs = append(g.invs, invs...)
	g.left--
	last, all := g.left == 0, g.invs
	g.mu.Unlock()
	if !last {
		return
	}
	if len(all) > 0 {
		g.err = g.node.publish(context.WithoutCancel(g.ctx), all) // which the bus bounds
	}
	close(g.sent)
}

// tell is publish, with what others of a gathering tell if ctx is of one. A write tells something
// else afterwards by itself.
func (n *Node) tell(ctx context.Context, invs []bus.Invalidation) error {
	m, first := memberOf(ctx), false
	if m != nil {
		m.came.Do(func() { first = true; m.come(slices.Clone(invs)) })
	}
	if !first {
		return n.publish(ctx, invs)
	}
	select {
	case <-m.sent:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
