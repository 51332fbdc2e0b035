package shardstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Touch implements [driver.Toucher]. Each shard is asked once, all at the same time. The error
// of a key whose shard is no Toucher wraps [errors.ErrUnsupported].
func (s *Store) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(touches))
	v, groups, err := s.prepare(ctx, func(i int) string { return touches[i].Key }, len(touches))
	if err != nil {
		for i := range receipts {
			receipts[i].Err = err
		}
		return receipts
	}
	each(len(groups), func(i int) { s.touch(ctx, v, groups[i], touches, receipts) })
	return receipts
}

// touch sends its part of touches to one shard and enters what became of them into receipts.
func (s *Store) touch(ctx context.Context, v *view, g *group, touches []driver.Touch, receipts []driver.Receipt) {
	store, ok := g.shard.store.(driver.Toucher)
	err := g.err
	if err == nil && !ok {
		err = fmt.Errorf("touch: %w", errors.ErrUnsupported)
	}
	if err != nil {
		for _, at := range g.places {
			receipts[at].Err = g.shard.failed(err)
		}
		return
	}
	ours := make([]driver.Touch, len(g.places))
	for n, at := range g.places {
		ours[n] = touches[at]
		ours[n].Key, ours[n].NotAfter = g.names[n], g.shard.theirs(s, touches[at].NotAfter)
	}
	sent := time.Now()
	got := store.Touch(ctx, ours)
	received := time.Now()
	err = s.stands(ctx, v, g.shard)
	for n, r := range got {
		g.shard.clock.Observe(sent, received, r.Now)
		if !r.Now.IsZero() {
			r.Now = s.now()
		}
		switch {
		case r.Err != nil:
			r.Err = g.shard.failed(r.Err)
		case err != nil:
			r.Err = g.shard.failed(err)
		}
		receipts[g.places[n]] = r
	}
}
