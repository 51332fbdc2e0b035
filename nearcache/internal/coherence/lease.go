package coherence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/lag"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const refreshInfix = "!refresh"

// Claim asks for the lease of key: beside its record, which stays of use, or in its
// place, where found was found.
func (k *Keyspace) Claim(key string, token uint64, beside bool, found *shared.Found) shared.Claim {
	if beside {
		return shared.Claim{Key: k.refreshKey(key), Token: token}
	}
	clock, _, _ := k.Clock.Get()
	return shared.Claim{Key: k.StoreKey(key), Token: token, Clock: clock, Discard: unusable(found)}
}

// unusable returns the header of a record that a lease may replace: one that
// is there and is not a live value.
func unusable(found *shared.Found) []byte {
	if errors.Is(found.Err, shared.ErrNotFound) && !found.Kept {
		return nil
	}
	return found.Header
}

// Acquire asks for leases in one round trip.
func (k *Keyspace) Acquire(ctx context.Context, claims []shared.Claim) []shared.Claimed {
	if !k.node.Faults.Off(fault.Leases) {
		return k.node.Tier.Acquire(ctx, claims)
	}
	all := make([]shared.Claimed, len(claims))
	for i := range all {
		all[i].Status = driver.LeaseGranted
	}
	return all
}

// refreshKey is where the lease for refreshing a key is. Names of caches have no
// exclamation mark in them, and keys have a colon after the name.
func (rs *Records) refreshKey(key string) string {
	name := rs.Name + refreshInfix + ":"
	if len(name)+len(key) > shared.MaxKeySize {
		sum := sha256.Sum256([]byte(key))
		return rs.Name + refreshInfix + "!" + hex.EncodeToString(sum[:])
	}
	return name + key
}

// RightInPlace is the right that a lease in the place of the record gives, where miss was
// found before.
func (k *Keyspace) RightInPlace(claim shared.Claim, got *shared.Claimed, miss *shared.Found) LoadRight {
	return LoadRight{
		Lease: claim, Clock: claim.Clock, Born: got.Revision, replaced: got.Replaced.Revision,
		Lag: k.lagOf(got, &got.Replaced, claim.Clock, miss),
	}
}

// RightBeside is the right to replace the record found, for a load that begins
// now. The lease may be in another partition, so what tells how old the load is comes with
// the record.
func (k *Keyspace) RightBeside(lease shared.Claim, got *shared.Claimed, found *shared.Found) LoadRight {
	clock, _, _ := k.Clock.Get()
	var replaced driver.Record // a value that stays of use tells of no invalidation
	if found.Kind == driver.KindStale {
		replaced = found.Record
	}
	return LoadRight{
		Lease: lease, Clock: clock, Born: found.Head, Expect: found.Nonce,
		Lag: k.lagOf(got, &replaced, clock, found),
	}
}

// lagOf judges a load that is to replace the record replaced, under a lease that was
// granted just now. miss is what a read found before.
func (k *Keyspace) lagOf(got *shared.Claimed, replaced *driver.Record, clock uint64, miss *shared.Found) lag.Lag {
	l := lag.New(got, replaced)
	l.Invalidated(clock)
	if len(miss.Slots) > 0 {
		if at := k.Tags.Newest(miss.Slots); at > miss.TagClock {
			l.Invalidated(at)
		}
	}
	return l
}

// Released is what gives a lease beside a record back, after a load that ended with
// err. Of a failure those who wait for the lease are told.
func (k *Keyspace) Released(lease shared.Claim, err error) shared.Put {
	put := lease.Released()
	put.TTL = time.Millisecond
	if err != nil && !errors.Is(err, shared.ErrNotFound) {
		put.Record.Codec, put.TTL = driver.TombstoneFailed, k.node.Tier.LeaseTTL()/5
	}
	return put
}

// GiveBack gives leases beside records back. If that fails, they end by themselves.
func (k *Keyspace) GiveBack(ctx context.Context, released ...shared.Put) {
	if len(released) == 0 {
		return
	}
	for _, r := range k.node.Tier.Fill(ctx, released) {
		if r.Err != nil && !errors.Is(r.Err, shared.ErrLeaseLost) {
			k.SharedErrors.Add(1)
		}
	}
}

// Renew renews leases, which were asked for at a moment, until it is stopped, each
// until it is lost: it is, too, once its load is stored. Rounds begin a third of their
// lifetime apart, or two thirds if one server does not answer, so that the leases on
// others stand. It keeps held. The stop function waits for a renewal under way.
func (k *Keyspace) Renew(ctx context.Context, held []shared.Claim, asked time.Time) (stop func()) {
	if len(held) == 0 {
		return func() {}
	}
	every := k.node.Tier.LeaseTTL() / 3
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(every-time.Since(asked), func() {
		defer close(ended)
		for {
			began, left := time.Now(), held[:0]
			for i, err := range k.node.Tier.Renew(ctx, held) {
				if !errors.Is(err, shared.ErrLeaseLost) {
					left = append(left, held[i])
				}
			}
			held = left
			if len(held) == 0 || pause.Sleep(ctx, every-time.Since(began)) != nil {
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

// ReadWithLease reads the record of key, and its lease: that is the record itself, unless the lease
// is beside it.
func (k *Keyspace) ReadWithLease(ctx context.Context, key string, beside bool) (record, lease *shared.Found, err error) {
	var leases []shared.Found
	if beside { // the lease first: who gives it back has stored before
		if leases, err = k.node.Tier.Read(ctx, []string{k.refreshKey(key)}); err != nil {
			return nil, nil, err
		}
	}
	records, err := k.ReadRecords(ctx, []string{key})
	if err != nil {
		return nil, nil, err
	}
	if beside {
		return &records[0], &leases[0], nil
	}
	return &records[0], &records[0], nil
}

// Present returns what was found under key in the place of a lease, judged; losses is
// how often the shared tier had lost writes before. If what judges it is not known any
// more, the record is read again together with that.
func (k *Keyspace) Present(ctx context.Context, key string, found shared.Found, losses uint64) (*shared.Found, error) {
	records, keys := []shared.Found{found}, []string{key}
	again, err := k.judge(ctx, keys, records, losses, false)
	if _, known, _ := k.Clock.Get(); err == nil && (again || !known || k.node.proves()) { // which a lease does not
		records, err = k.ReadRecords(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	return &records[0], nil
}

// LoadRight is the right to store what a call loads: a lease.
type LoadRight struct {
	Lease shared.Claim // in the place of the record, or beside it; the zero Claim if there is none
	Clock uint64       // of the cache, as it was known before the load

	// Expect is the nonce of the record to be replaced, if the lease is beside
	// it; 0 if it is in its place.
	Expect uint64

	// Born is the revision of then, see driver.Write.Born.
	Born driver.Revision

	replaced driver.Revision // of what the lease took the place of
	lag.Lag
}

// Released is what gives the lease back. What takes its place is as old as what was there
// before, so that who loads next knows when the key was invalidated, or that it was not.
func (h *LoadRight) Released() shared.Put {
	put := h.Lease.Released()
	put.Born.Number = max(1, h.replaced.Number)
	return put
}

// Leased reports whether there is a lease.
func (h *LoadRight) Leased() bool { return h.Lease.Token != 0 }

// Store stores what was loaded, where nothing came in between.
func (k *Keyspace) Store(ctx context.Context, puts []shared.Put) []driver.Receipt {
	all := k.node.Faults.Off(fault.Leases)
	if !all && !k.node.Faults.Off(fault.Expectation) {
		return k.node.Tier.Fill(ctx, puts)
	}
	receipts := make([]driver.Receipt, len(puts))
	for i := range puts {
		store := k.node.Tier.Fill
		if all || puts[i].Expect != 0 {
			puts[i].Expect, store = 0, k.node.Tier.Write
		}
		receipts[i] = store(ctx, puts[i:i+1])[0]
	}
	return receipts
}
