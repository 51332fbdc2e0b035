package coherence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// observedTier is the shared tier as its node uses it: whichever call finds that a server is
// away, the node takes note of it.
type observedTier struct {
	*shared.Tier
	node    *Node
	leases  leases
	silence silence
}

// Read is that of the tier.
func (r *observedTier) Read(ctx context.Context, keys []string) (found []shared.Found, err error) {
	began := time.Now()
	if r.node.proves() {
		found, err = r.proven(ctx, keys)
	} else {
		found, err = r.read(ctx, keys)
	}
	r.node.tookShared(telemetry.SharedRead, keys[0], len(keys), began, err)
	r.node.observe(ctx, err)
	if err != nil {
		r.node.markUnreachable(err, keys...)
	}
	for i := range found {
		if errors.Is(found[i].Err, shared.ErrUnread) {
			r.node.observe(ctx, found[i].Err)
			r.node.markUnreachable(found[i].Err, keys[i])
		}
	}
	return found, err
}

// Write is that of the tier. What is confirmed is in the journal, which fills are not unless they
// say so.
func (r *observedTier) Write(ctx context.Context, puts []shared.Put) []driver.Receipt {
	partitions, began := r.partitions(puts), time.Now()
	silent := r.silence.now()
	receipts := r.confirmed(puts, r.Tier.Write(ctx, puts))
	if failure(receipts) == nil {
		r.silence.note(silent)
	}
	r.node.tookShared(telemetry.SharedWrite, puts[0].Key, len(puts), began, failure(receipts))
	r.node.observe(ctx, receipts[0].Err)
	r.acknowledged(puts, receipts, partitions)
	return r.received(puts, receipts)
}

// acknowledged takes in the writes that were confirmed, of keys that were in these partitions
// before.
func (r *observedTier) acknowledged(puts []shared.Put, receipts []driver.Receipt, partitions []int) {
	follower := r.node.Journal
	if follower == nil {
		return
	}
	for i, p := range partitions {
		if receipts[i].Err != nil {
			continue
		}
		name, _ := journal.SplitKey(puts[i].Key)
		follower.Wrote(name, receipts[i].Entered().Number) // it may have read of them already
		// A key whose home changed meanwhile is another one: see package shardstore.
		if p == r.node.partition(puts[i].Key) {
			r.node.acked.Raise(p, receipts[i].Entered())
		}
	}
}

// partitions returns those of puts, none if there is no journal.
func (r *observedTier) partitions(puts []shared.Put) []int {
	if r.node.Journal == nil {
		return nil
	}
	all := make([]int, len(puts))
	for i := range puts {
		all[i] = r.node.partition(puts[i].Key)
	}
	return all
}

// Fill is that of the tier. A hurried one of a single key may be under way when it returns. Batches
// are waited for: of several servers one may say nothing while others answer.
func (r *observedTier) Fill(ctx context.Context, puts []shared.Put) []driver.Receipt {
	if len(puts) != 1 || !r.hurries(ctx) {
		return r.fill(ctx, puts)
	}
	e := &fillOne{tier: r, ctx: ctx, puts: [1]shared.Put(puts)}
	if err := r.silence.carry(e, &e.carrier); err != nil {
		r.leases.ended(puts[0].Record.Nonce) // ctx ends with the load, before e does
		return []driver.Receipt{{Err: err}}
	}
	return e.receipts
}

func (r *observedTier) fill(ctx context.Context, puts []shared.Put) []driver.Receipt {
	partitions, began, silent := r.partitions(puts), time.Now(), r.silence.now()
	receipts := r.confirmed(puts, r.Tier.Fill(ctx, puts))
	for i := range partitions {
		if puts[i].Journal {
			r.acknowledged(puts[i:i+1], receipts[i:i+1], partitions[i:i+1])
		}
	}
	receipts = r.received(puts, receipts)
	if failure(receipts) == nil {
		r.silence.note(silent)
	}
	r.node.tookShared(telemetry.SharedWrite, puts[0].Key, len(puts), began, failure(receipts))
	for i := range receipts {
		if over(receipts[i].Err) || r.node.Context.Err() == nil && ctx.Err() == nil {
			r.leases.ended(puts[i].Record.Nonce)
		}
	}
	return receipts
}

// confirmed is receipts, without those of a server that was deposed: what it takes is lost.
func (r *observedTier) confirmed(puts []shared.Put, receipts []driver.Receipt) []driver.Receipt {
	for i := range receipts {
		if receipts[i].Err == nil && r.node.lost(r.node.partition(puts[i].Key), receipts[i].Revision) {
			receipts[i].Err = fmt.Errorf("%w: %w", shared.ErrUnavailable, journal.ErrBehind)
		}
	}
	return receipts
}

func (r *observedTier) received(puts []shared.Put, receipts []driver.Receipt) []driver.Receipt {
	for i := range receipts {
		r.node.markUnreachable(receipts[i].Err, puts[i].Key)
		r.node.observeStore(puts[i].Record.Kind, receipts[i].Err)
		if receipts[i].Err == nil {
			r.node.sees(r.node.partition(puts[i].Key), receipts[i].Entered())
		}
	}
	return receipts
}

// Acquire is that of the tier. If the node was closed meanwhile, or ctx ended with the
// keyspace, it gives back what was granted, or may have been.
func (r *observedTier) Acquire(ctx context.Context, claims []shared.Claim) []shared.Claimed {
	if len(claims) != 1 || !r.hurries(ctx) {
		return r.acquire(ctx, claims)
	}
	e := &lease{tier: r, ctx: ctx, claims: [1]shared.Claim(claims)}
	if err := r.silence.carry(e, &e.carrier); err != nil {
		return []shared.Claimed{{Err: err}}
	}
	return e.answers
}

func (r *observedTier) acquire(ctx context.Context, claims []shared.Claim) []shared.Claimed {
	silent := r.silence.now()
	r.leases.ask()
	var ours []shared.Claim
	defer func() {
		if late := r.leases.answered(ctx, ours); len(late) > 0 {
			r.part(ctx, late)
		}
	}()
	began := time.Now()
	answers := r.Tier.Acquire(ctx, claims)
	r.node.tookShared(telemetry.SharedWrite, claims[0].Key, len(claims), began, answers[0].Err)
	if answers[0].Err == nil {
		r.silence.note(silent)
	}
	if r.node.Context.Err() != nil || ctx.Err() != nil {
		r.part(ctx, granted(claims, answers, true))
	} else {
		ours = granted(claims, answers, false)
	}
	for i := range answers {
		r.node.markUnreachable(answers[i].Err, claims[i].Key)
		if answers[i].Err != nil || answers[i].Status == driver.LeaseGranted {
			r.node.observeStore(driver.KindLease, answers[i].Err)
		}
	}
	return answers
}

// markUnreachable takes in that the servers of keys were away, if that is what err says of a call
// of the shared tier.
func (n *Node) markUnreachable(err error, keys ...string) {
	if err == nil || n.Journal == nil || !shared.Unreachable(err) {
		return
	}
	for _, key := range keys {
		n.Near.Broke(n.partition(key))
	}
}
