package nearcache

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// OpenOptions are the options of what [Open] makes. The zero value is the production default.
type OpenOptions struct {
	Tier shared.Options
	Bus  bus.Options
	Node NodeOptions

	// Logger is that of bus and node, where Bus and Node have none. Nil means that nothing is
	// logged.
	Logger *slog.Logger

	// Background is that of bus and node, where Bus and Node have none.
	Background context.Context

	// WaitReady is how long Open waits at most for the node to be ready: to hear the bus, and
	// to have read the journal. Until then a node keeps values near for MaxStaleness at most.
	// Zero means 1 s; a negative duration means that Open does not wait.
	WaitReady time.Duration
}

// Open returns a node over a store and a transport, with a shared tier and a bus of its own,
// which Close closes as well. The clients of store and transport stay the caller's to close,
// after the node. Package nearredis has an Open that makes store and transport, too.
//
// A server that is away is no error: the node goes on from the source, and is ready once the
// server is back. The error is that of an option, or of ctx.
func Open(ctx context.Context, store driver.Store, transport bus.Transport, opts OpenOptions) (*Node, error) {
	opts.Bus.Logger = cmp.Or(opts.Bus.Logger, opts.Logger)
	opts.Node.Logger = cmp.Or(opts.Node.Logger, opts.Logger)
	if opts.Bus.Background == nil {
		opts.Bus.Background = opts.Background
	}
	if opts.Node.Background == nil {
		opts.Node.Background = opts.Background
	}
	tier, err := shared.New(store, opts.Tier)
	if err != nil {
		return nil, err
	}
	b, err := bus.New(transport, opts.Bus)
	if err != nil {
		return nil, errors.Join(err, tier.Close())
	}
	node, err := NewNode(tier, b, opts.Node)
	if err != nil {
		return nil, errors.Join(err, b.Close(), tier.Close())
	}
	node.owns = []io.Closer{b, tier}
	if err := node.waitReady(ctx, opts.WaitReady); err != nil {
		return nil, errors.Join(err, node.Close(ctx))
	}
	return node, nil
}

// readyPause is how often a node that is opened is looked at.
const readyPause = 2 * time.Millisecond

// waitReady waits until n is ready, for a time at most. The error is that of ctx.
func (n *Node) waitReady(ctx context.Context, most time.Duration) error {
	if most == 0 {
		most = time.Second
	}
	for end := time.Now().Add(most); time.Now().Before(end); {
		if h := n.Health(); h.Trusted && !h.BusCut {
			break
		}
		if err := pause.Sleep(ctx, readyPause); err != nil {
			return err
		}
	}
	return ctx.Err()
}
