package coherence

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
)

// errUnverified is why a record is not believed.
var errUnverified = errors.New("the journal that tells whether it is the latest was not read for too long")

// verify makes records unread that nobody may be given: for longer than
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
func (rs *Records) verify(ctx context.Context, keys []string, found []shared.Found) (waited bool) {
	if rs.node.Journal == nil || rs.node.Faults.Off(fault.Confirmation) {
		return false
	}
	now := rs.node.Near.Now()
	for i := range found {
		switch {
		case !rs.unverified(keys[i], &found[i], now):
		case rs.node.Options.ServeStale && rs.node.Journal.Err() != nil:
			rs.Unverified.Add(1) // nor will waiting confirm it
		default:
			return rs.verifyFrom(ctx, keys[i:], found[i:])
		}
	}
	return false
}

// verifyFrom is confirm where the first is in doubt.
func (rs *Records) verifyFrom(ctx context.Context, keys []string, found []shared.Found) (some bool) {
	var doubted []int
	own := slices.Clone(keys) // so that those of the caller need not be on the heap
	now := rs.node.Near.Now()
	for i := range found {
		if rs.unverified(own[i], &found[i], now) {
			doubted = append(doubted, i)
		}
	}
	records := slices.Clone(found) // who waits may ask after this has returned
	still := func(i int) bool { return rs.unverified(own[i], &records[i], rs.node.Near.Now()) }
	failure := rs.node.Tier.wait(ctx, func() bool { return !slices.ContainsFunc(doubted, still) })
	err := errUnverified
	if failure != nil {
		err = fmt.Errorf("%w: %w", errUnverified, failure)
	}
	for _, i := range doubted {
		if !still(i) {
			some = true
			continue
		}
		rs.Unverified.Add(1)
		if !rs.node.Options.ServeStale {
			found[i].Err = fmt.Errorf("%w: %w", shared.ErrUnread, err)
		}
	}
	return some
}

// unverified reports whether the record found under key is of use, and not confirmed at
// this time of the near tier's clock.
func (rs *Records) unverified(key string, found *shared.Found, now int64) bool {
	clock, _, _ := rs.Clock.Get()
	return (found.Err == nil || found.Kept) && found.Clock >= clock && !rs.verified(key, found.Slots, now)
}

// verified reports whether this node knows of what happened to the servers that
// decide on the record of key, up to MaxStaleness before now.
func (rs *Records) verified(key string, slots []uint32, now int64) bool {
	n := rs.node
	if !n.Near.Confirmed(rs.Partition(key), now) || !n.Near.Confirmed(rs.clockPartition(), now) {
		return false
	}
	if len(slots) == 0 {
		return true
	}
	if !n.Near.Confirmed(n.partition(rs.tagClockKey()), now) {
		return false
	}
	for _, slot := range slots {
		if !n.Near.Confirmed(n.partition(rs.slotKey(slot)), now) {
			return false
		}
	}
	return true
}
