package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
)

// errUnconfirmed is why a record is not believed.
var errUnconfirmed = errors.New("the journal that tells whether it is the latest was not read for too long")

// confirm makes records unread that nobody may be given: for longer than
// MaxStaleness, or since the server was away, this node has not heard whether it lost
// writes or is no primary any more, and it does not hear of it now. What is found may be what a write
// had replaced that was acknowledged before. With ServeStale they are given all the
// same, but only where the journal cannot be read: not because nobody has tried yet.
//
// It comes after the read. A server that lost writes before it is found out then, and
// its records are superseded; one that loses them after it is found out in time.
//
// It reports whether it waited for that, and some are confirmed. What they were judged
// by was not read as lately as they were, and what the journal told since may end them.
func (k *keyspace) confirm(ctx context.Context, keys []string, found []shared.Found) (waited bool) {
	if k.node.journal == nil || k.node.faults.Off(fault.Confirmation) {
		return false
	}
	now := k.node.near.Now()
	for i := range found {
		switch {
		case !k.doubts(keys[i], &found[i], now):
		case k.node.opts.ServeStale && k.node.journal.Err() != nil:
			k.unconfirmed.Add(1) // nor will waiting confirm it
		default:
			return k.confirmFrom(ctx, keys[i:], found[i:])
		}
	}
	return false
}

// confirmFrom is confirm where the first is in doubt.
func (k *keyspace) confirmFrom(ctx context.Context, keys []string, found []shared.Found) (some bool) {
	var doubted []int
	now := k.node.near.Now()
	for i := range found {
		if k.doubts(keys[i], &found[i], now) {
			doubted = append(doubted, i)
		}
	}
	still := func(i int) bool { return k.doubts(keys[i], &found[i], k.node.near.Now()) }
	failure := k.node.journal.Wait(ctx, func() bool { return !slices.ContainsFunc(doubted, still) })
	err := errUnconfirmed
	if failure != nil {
		err = fmt.Errorf("%w: %w", errUnconfirmed, failure)
	}
	for _, i := range doubted {
		if !still(i) {
			some = true
			continue
		}
		k.unconfirmed.Add(1)
		if !k.node.opts.ServeStale {
			found[i].Err = fmt.Errorf("%w: %w", shared.ErrUnread, err)
		}
	}
	return some
}

// doubts reports whether the record found under key is of use, and not confirmed at
// this time of the near tier's clock.
func (k *keyspace) doubts(key string, found *shared.Found, now int64) bool {
	clock, _, _ := k.clock.Get()
	return (found.Err == nil || found.Kept) && found.Clock >= clock && !k.confirmed(key, found.Slots, now)
}

// confirmed reports whether this node knows of what happened to the servers that
// decide on the record of key, up to MaxStaleness before now.
func (k *keyspace) confirmed(key string, slots []uint32, now int64) bool {
	n := k.node
	if !n.near.Confirmed(k.partition(key), now) || !n.near.Confirmed(k.clockPartition(), now) {
		return false
	}
	if len(slots) == 0 {
		return true
	}
	if !n.near.Confirmed(n.partition(k.tagClockKey()), now) {
		return false
	}
	for _, slot := range slots {
		if !n.near.Confirmed(n.partition(k.slotKey(slot)), now) {
			return false
		}
	}
	return true
}
