package shared

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Claim names the lease of one key for [Tier.Acquire], [Tier.Renew] and
// [Tier.Release].
type Claim struct {
	Key   string
	Token uint64 // of the caller's; a new one for each lease: see [driver.NewNonce]

	// Clock is that of the lease. What is older than it counts as absent.
	Clock uint64

	// Discard, for Acquire, is the beginning of a record that counts as absent:
	// see Found.Header. Empty means none.
	Discard []byte
}

// Claimed answers a [Claim].
type Claimed struct {
	Status  driver.GrantStatus
	Present Found // the value that is there, if Status is LeasePresent
	Err     error // then there is no status

	// Revision, of a lease that was granted, is for Put.Born.
	Revision driver.Revision

	// Replaced is the header of the record that a lease which was granted replaced; its
	// Kind is 0 if there was none. Of a lease, the revision is that of what it replaced.
	Replaced driver.Record

	Now time.Time // the server's clock then; zero if it is not known
}

// Acquire asks for leases in one round trip where the store can. Each answer tells
// what became of the claim in its place.
func (t *Tier) Acquire(ctx context.Context, claims []Claim) []Claimed {
	answers := make([]Claimed, len(claims))
	for i, grant := range t.claim(ctx, claims, false) {
		answers[i].Status, answers[i].Err, answers[i].Revision = grant.Status, grant.Err, grant.Revision
		answers[i].Now = grant.Now
		if grant.Err == nil && grant.Status == driver.LeaseGranted && len(grant.Image) > 0 {
			answers[i].Replaced, _ = driver.DecodeHeader(grant.Image) // nothing, if there was no record of ours
		}
		if grant.Err == nil && grant.Status == driver.LeasePresent {
			now, _ := t.clock.now()
			t.count(t.find(grant.Image, &answers[i].Present, now))
		}
	}
	return answers
}

// Renew gives the leases that these claims got another LeaseTTL. The error of one
// that is not there any more is [ErrLeaseLost].
func (t *Tier) Renew(ctx context.Context, claims []Claim) []error {
	errs := make([]error, len(claims))
	for i, grant := range t.claim(ctx, claims, true) {
		errs[i] = grant.Err
	}
	return errs
}

// Release gives leases back, so that nobody waits for them. That one is not there
// any more is no error.
func (t *Tier) Release(ctx context.Context, claims []Claim) []error {
	puts := make([]Put, len(claims))
	for i := range claims {
		puts[i] = claims[i].Released()
	}
	errs := make([]error, len(claims))
	for i, r := range t.Fill(ctx, puts) {
		if !errors.Is(r.Err, ErrLeaseLost) {
			errs[i] = r.Err
		}
	}
	return errs
}

// Released returns what gives the lease back, for a [Tier.Fill] that has other
// things to store as well.
func (c *Claim) Released() Put {
	return Put{Key: c.Key, Record: driver.Record{Kind: driver.KindTombstone, Codec: driver.TombstoneReleased, Nonce: c.Token}}
}

// claim makes the driver's form of claims and asks for them.
func (t *Tier) claim(ctx context.Context, claims []Claim, renew bool) []driver.Grant {
	grants := make([]driver.Grant, len(claims))
	leases := make([]driver.Lease, 0, len(claims))
	places := make([]int, 0, len(claims))
	images := make([]byte, 0, len(claims)*driver.HeaderSize)
	for i := range claims {
		c := &claims[i]
		name, err := t.check(c.Key)
		if err != nil {
			grants[i].Err = err
			continue
		}
		record := driver.Record{Kind: driver.KindLease, Nonce: c.Token, Clock: c.Clock}
		at := len(images)
		images = record.Append(images)
		l := driver.Lease{Key: name, Image: images[at:len(images):len(images)], TTL: t.opts.LeaseTTL, MinClock: c.Clock, Renew: renew}
		if !renew {
			l.Discard = slices.Clone(c.Discard)
		}
		leases, places = append(leases, l), append(places, i)
	}
	if len(leases) == 0 {
		return grants
	}
	for i, g := range t.acquire(ctx, leases) {
		grants[places[i]] = g
	}
	return grants
}

// asking is a batch of requests for leases on their way, as delivery is of writes.
// Every attempt has the same token and the same deadline, so a lease that was granted
// and not heard of is granted again. But a request for a new one that its client gave up
// may land after that, even over what another node wrote meanwhile, and bring the token
// back: it is not tried again.
type asking struct {
	tier   *Tier
	leases []driver.Lease
	grants []driver.Grant // in the order of leases
	places []int          // of the leases that are still to be asked for
	sent   bool           // deadlines are given
}

// acquire asks for leases, and again for those that no server answered.
func (t *Tier) acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	a := asking{tier: t, leases: leases, grants: make([]driver.Grant, len(leases)), places: make([]int, len(leases))}
	for i := range a.places {
		a.places[i] = i
	}
	// A server that does not answer must not hold up what others granted until
	// that has ended.
	err := t.do(ctx, min(t.opts.Timeout, t.opts.LeaseTTL*2/3), a.attempt)
	for _, at := range a.places {
		if a.sent {
			a.grants[at].Err = because(ctx.Err(), a.grants[at].Err)
		} else {
			a.grants[at].Err = err
		}
	}
	return a.grants
}

// attempt is a [call].
func (a *asking) attempt(ctx context.Context) (again bool, err error) {
	if !a.sent {
		a.sent = true
		end := a.tier.deadline(ctx)
		for i := range a.leases {
			a.leases[i].NotAfter = end
		}
	}
	var failed []int
	alive := false
	for i, g := range inTime(ctx, a.tier, a.tier.leases(), pick(a.leases, a.places)) {
		at := a.places[i]
		a.grants[at] = g
		if transient(g.Err) && (a.leases[at].Renew || !overtakes(g.Err)) {
			failed = append(failed, at)
		}
		if answered(g.Err) {
			alive = true
		} else {
			err = g.Err
		}
	}
	a.places = failed
	if alive {
		err = nil
	}
	return len(failed) > 0, err
}
