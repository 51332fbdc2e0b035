package coherence

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// partingTimeout bounds how long leases are given back that nobody has a use for.
const partingTimeout = 500 * time.Millisecond

// leases are those that this node has, or has asked for. A node that is closed gives them
// back: nobody loads under them any more, and others wait for them.
type leases struct {
	mu     sync.Mutex // protects the fields below
	held   map[uint64]shared.Claim
	asking int           // requests under way
	quiet  chan struct{} // closed once there are none; nil if nobody waits for that
}

// ask takes in that leases are asked for. The caller calls answered next.
func (l *leases) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking++
}

// answered takes in the leases that were granted to who asked with ctx. If that has ended,
// nobody loads under them, and they are the caller's to give back: late.
func (l *leases) answered(ctx context.Context, granted []shared.Claim) (late []shared.Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		granted, late = nil, granted
	}
	if l.held == nil {
		l.held = make(map[uint64]shared.Claim)
	}
	for _, c := range granted {
		l.held[c.Token] = shared.Claim{Key: c.Key, Token: c.Token}
	}
	if l.asking--; l.asking == 0 && l.quiet != nil {
		close(l.quiet)
		l.quiet = nil
	}
	return late
}

// ended takes in that what was done with the lease of this token, if it is one, ended it,
// or leaves it to end by itself.
func (l *leases) ended(token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, token)
}

// all waits until no leases are being asked for, or ctx ends, and returns those held.
func (l *leases) all(ctx context.Context) (held []shared.Claim) {
	l.mu.Lock()
	quiet := l.quiet
	if l.asking > 0 && quiet == nil {
		quiet = make(chan struct{})
		l.quiet = quiet
	}
	l.mu.Unlock()
	if quiet != nil {
		select {
		case <-quiet:
		case <-ctx.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.held {
		held = append(held, c)
	}
	l.held = nil
	return held
}

// releaseLeases gives back the leases of a node whose context has ended. Who has asked for leases
// by then gives them back alone: see Acquire.
func (r *observedTier) releaseLeases() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.node.own), partingTimeout)
	defer cancel()
	r.giveBack(ctx, r.leases.all(ctx))
}

// part gives leases back within partingTimeout, although ctx may have ended.
func (r *observedTier) part(ctx context.Context, claims []shared.Claim) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTimeout)
	defer cancel()
	r.giveBack(ctx, claims)
}

// giveBack gives leases back, as far as they are there. What fails ends by itself.
func (r *observedTier) giveBack(ctx context.Context, claims []shared.Claim) {
	for part := range slices.Chunk(claims, MaxPart) {
		puts := make([]shared.Put, len(part))
		for i := range part {
			puts[i] = part[i].Released()
			if _, rest := journal.SplitKey(part[i].Key); strings.HasPrefix(rest, refreshInfix) {
				puts[i].TTL = time.Millisecond // beside a record: see released
			}
		}
		r.Tier.Fill(ctx, puts)
	}
}

// granted returns those of claims that are leases now, with those that may be if asked to.
func granted(claims []shared.Claim, answers []shared.Claimed, maybe bool) (some []shared.Claim) {
	for i := range answers {
		if err := answers[i].Err; err == nil && answers[i].Status == driver.LeaseGranted || err != nil && maybe {
			some = append(some, claims[i])
		}
	}
	return some
}

// over reports whether a fill that ended with err has ended its lease.
func over(err error) bool { return err == nil || errors.Is(err, shared.ErrLeaseLost) }
