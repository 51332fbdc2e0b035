package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Tier is the shared tier as callers use it. It is safe for use by many
// goroutines. It owns no goroutine and no connection.
//
// Its keys are the caller's own: whatever they are, none is a record of a cache, whose
// records are under the same namespace. See [Tier.Records].
type Tier struct {
	*tier
	records bool // keys are names of records
}

// tier is what a Tier shares with that of its records.
type tier struct {
	store     driver.Store
	opts      Options
	maxValue  int // of a value, not compressed
	maxStored int // of a record without its header
	clock     *serverClock
	journal   driver.Journaler // nil if the store keeps none
	prover    driver.Prover    // nil if its reads prove nothing
	toucher   driver.Toucher   // nil if it is none
	breaker   *breaker         // nil if there is none

	closed  atomic.Bool
	corrupt atomic.Uint64
	newer   atomic.Uint64
	tooLate atomic.Uint64
	retries atomic.Uint64

	undecodable atomic.Uint64
}

// New returns a Tier over store.
func New(store driver.Store, opts Options) (*Tier, error) {
	if isNil(store) {
		return nil, errors.New("shared: New: the store is nil")
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	t := &Tier{tier: &tier{store: store, opts: opts, clock: newServerClock(), breaker: newBreaker(opts)}}
	if j, ok := store.(driver.Journaler); ok && j.Partitions() > 0 {
		t.journal = j
	}
	if p, ok := store.(driver.Prover); ok && t.journal != nil && p.Proves() {
		t.prover = p
	}
	t.toucher, _ = store.(driver.Toucher)
	t.limit()
	return t, nil
}

func isNil(store driver.Store) bool {
	if store == nil {
		return true
	}
	v := reflect.ValueOf(store)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// Get returns the value stored under key. The caller owns it. The error is
// [ErrNotFound] if there is no live value, [ErrInvalidKey], [ErrClosed], or
// that of the store.
func (t *Tier) Get(ctx context.Context, key string) ([]byte, error) {
	found, err := t.Read(ctx, []string{key})
	if err != nil {
		return nil, err
	}
	if found[0].Err != nil || found[0].Kind == driver.KindNotFound {
		return nil, ErrNotFound
	}
	return found[0].Value, nil
}

// Set stores value under key for ttl; zero means Options.TTL, and [MaxDuration] is the
// longest. It keeps no
// reference to value. The error is [ErrInvalidKey], [ErrTooLarge], [ErrClosed],
// or that of the store; after one of the latter the outcome is unknown.
func (t *Tier) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl < 0 {
		return fmt.Errorf("shared: set %q: ttl is negative: %v", key, ttl)
	}
	if ttl > MaxDuration {
		return fmt.Errorf("shared: set %q: ttl is %v, longer than %v", key, ttl, MaxDuration)
	}
	ttl = cmp.Or(ttl, t.opts.TTL)
	put := Put{Key: key, Record: driver.Record{Kind: driver.KindValue, Codec: CodecRaw, Value: value}, TTL: ttl}
	return t.Write(ctx, []Put{put})[0].Err
}

// Delete deletes keys. That a key is not there is no error. The error joins
// those of the keys that failed.
func (t *Tier) Delete(ctx context.Context, keys ...string) error {
	puts := make([]Put, len(keys))
	for i, key := range keys {
		puts[i] = Put{Key: key, Record: driver.Record{Kind: driver.KindTombstone}}
	}
	receipts := t.Write(ctx, puts)
	errs := make([]error, len(receipts))
	for i := range receipts {
		errs[i] = receipts[i].Err
	}
	return errors.Join(errs...)
}

// Timeout returns Options.Timeout, with its default set.
func (t *Tier) Timeout() time.Duration { return t.opts.Timeout }

// LeaseTTL returns how long a lease stands without being renewed.
func (t *Tier) LeaseTTL() time.Duration { return t.opts.LeaseTTL }

// TombstoneTTL returns how long a tombstone stands.
func (t *Tier) TombstoneTTL() time.Duration { return t.opts.TombstoneTTL }

// MaxValue returns the size of the largest value, in bytes. A store may take
// less of what cannot be compressed; see [Tier.Fits].
func (t *Tier) MaxValue() int { return t.maxValue }

// Endpoint returns the client through which the store can publish a message in
// the same step as a write, or nil if it cannot. See [driver.Announcer].
func (t *Tier) Endpoint() any {
	if a, ok := t.store.(driver.Announcer); ok {
		return a.Endpoint()
	}
	return nil
}

// Stats counts what a Tier met. Counters only rise; Open is how it is now.
type Stats struct {
	Corrupt     uint64 // records read that were not whole records of ours
	NewerFormat uint64 // records read that a newer version wrote
	TooLate     uint64 // writes refused because their deadline had passed
	Undecodable uint64 // records read that Options.Compress does not read, or larger than MaxValue; they read as misses
	Retries     uint64 // attempts beyond the first of a call

	Opened  uint64 // times the breaker opened
	Refused uint64 // calls that the breaker refused
	Open    bool   // the breaker refuses calls right now, but for a probe
}

// Stats returns the counters.
func (t *Tier) Stats() Stats {
	s := Stats{
		Corrupt: t.corrupt.Load(), NewerFormat: t.newer.Load(), TooLate: t.tooLate.Load(), Retries: t.retries.Load(),
		Undecodable: t.undecodable.Load(),
	}
	if b := t.breaker; b != nil {
		s.Opened, s.Refused, s.Open = b.opened.Load(), b.refused.Load(), b.open()
	}
	return s
}

// Close makes every later call return [ErrClosed]. It does not close the
// client behind the store, which belongs to the caller.
func (t *Tier) Close() error {
	t.closed.Store(true)
	return nil
}

// deadline returns the deadline of ctx, which do has set, on the server's
// clock.
func (t *Tier) deadline(ctx context.Context) time.Time {
	end, _ := ctx.Deadline()
	now, _ := t.clock.now()
	return now.Add(time.Until(end))
}
