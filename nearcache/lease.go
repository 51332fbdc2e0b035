package nearcache

import (
	"context"
	"errors"
	"time"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// hold is the right to store what a flight loads: a lease.
type hold struct {
	lease shared.Claim // in the place of the record, or beside it; the zero Claim if there is none
	clock uint64       // of the cache, as it was known before the load

	// expect is the nonce of the record to be replaced, if the lease is beside
	// it; 0 if it is in its place.
	expect uint64

	// born is the revision of then, see driver.Write.Born.
	born driver.Revision

	replaced driver.Revision // of what the lease took the place of
	lag
}

// holdInPlace is the right that a lease in the place of the record gives, where miss was
// found before.
func (k *keyspace) holdInPlace(claim shared.Claim, got *shared.Claimed, miss *shared.Found) hold {
	return hold{
		lease: claim, clock: claim.Clock, born: got.Revision, replaced: got.Replaced.Revision,
		lag: k.lagOf(got, &got.Replaced, claim.Clock, miss),
	}
}

// released is what gives the lease back. What takes its place is as old as what was there
// before, so that who loads next knows when the key was invalidated, or that it was not.
func (h *hold) released() shared.Put {
	put := h.lease.Released()
	put.Born.Number = max(1, h.replaced.Number)
	return put
}

// nonce is that of the record to be stored; 0 means a new one.
func (h *hold) nonce() uint64 {
	if h.expect != 0 {
		return 0
	}
	return h.lease.Token
}

// claimInPlace asks for the lease in the place of the record of key, where miss was
// found.
func (k *keyspace) claimInPlace(key string, miss *shared.Found) shared.Claim {
	clock, _, _ := k.clock.Get()
	return shared.Claim{Key: k.storeKey(key), Token: driver.NewNonce(), Clock: clock, Discard: unusable(miss)}
}

// claimBeside asks for the lease beside the record of key, which stays of use.
func (k *keyspace) claimBeside(key string) shared.Claim {
	return shared.Claim{Key: k.refreshKey(key), Token: driver.NewNonce()}
}

// unusable returns the header of a record that a lease may replace: one that
// is there and is not a live value.
func unusable(found *shared.Found) []byte {
	if errors.Is(found.Err, shared.ErrNotFound) && !found.Kept {
		return nil
	}
	return found.Header
}

// acquire asks for one lease.
func (k *keyspace) acquire(ctx context.Context, claim shared.Claim) shared.Claimed {
	return k.node.tier.Acquire(ctx, []shared.Claim{claim})[0]
}

// renew renews leases, which were asked for at a moment, until it is stopped, each
// until it is lost: it is, too, once its load is stored. Rounds begin a third of their
// lifetime apart, or two thirds if one server does not answer, so that the leases on
// others stand. It keeps held. The stop function waits for a renewal under way.
func (k *keyspace) renew(ctx context.Context, held []shared.Claim, asked time.Time) (stop func()) {
	if len(held) == 0 {
		return func() {}
	}
	every := k.node.tier.LeaseTTL() / 3
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(every-time.Since(asked), func() {
		defer close(ended)
		for {
			began, left := time.Now(), held[:0]
			for i, err := range k.node.tier.Renew(ctx, held) {
				if !errors.Is(err, shared.ErrLeaseLost) {
					left = append(left, held[i])
				}
			}
			held = left
			if len(held) == 0 || sleep(ctx, every-time.Since(began)) != nil {
				return
			}
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	}
}
