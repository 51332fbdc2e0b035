// Package memstore is a shared tier in the memory of one process: for tests, examples,
// and programs with a fleet inside.
//
//	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
//
// The store keeps every promise of [driver.Store], revisions and deadlines included, by
// the clock of the process. Records stay until they expire, and memory has no bound.
package memstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Options configure a [Store]. The zero value is the production default.
type Options struct {
	// MaxImage is the largest record in bytes, header included. Zero or less
	// means no limit.
	MaxImage int

	// JournalLength is the number of writes that the journal keeps. Zero means
	// 65,536; a negative number keeps none.
	JournalLength int
}

// Store is a [driver.Store] in memory.
type Store struct {
	opts Options

	mu     sync.Mutex // protects the fields below
	epoch  uint64
	items  map[string]item
	last   uint64 // highest revision number given
	swept  uint64 // highest clock of a watermark that was swept
	log    journal
	writes int // since expired items were swept
	kept   int // items that were kept then
	closed bool
}

type item struct {
	image   []byte
	expires time.Time // zero: never
}

var (
	_ driver.Store     = (*Store)(nil)
	_ driver.Journaler = (*Store)(nil)
	_ driver.Recaller  = (*Store)(nil)
	_ driver.Prover    = (*Store)(nil)
	_ driver.Sweeper   = (*Store)(nil)
	_ driver.Toucher   = (*Store)(nil)
)

// New returns an empty Store. There is nothing to stop.
func New(opts Options) *Store {
	// Epochs rise with time, and no two stores have the same.
	epoch := uint64(time.Now().UnixMilli())<<22 | rand.Uint64N(1<<22)
	s := &Store{opts: opts, epoch: epoch, items: make(map[string]item)}
	s.log.limit = opts.JournalLength
	if s.log.limit == 0 {
		s.log.limit = 1 << 16
	}
	s.restartLocked()
	return s
}

// Close makes every later call return [driver.ErrClosed] and frees what is
// stored.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.items = nil
	return nil
}

// MaxImage returns Options.MaxImage.
func (s *Store) MaxImage() int { return s.opts.MaxImage }

// Plant puts data under key for good, as it is. It is for tests of what becomes
// of bytes that are no record, or that another version of the library wrote.
func (s *Store) Plant(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.items[key] = item{image: append([]byte{}, data...)}
	}
}

// Time returns the clock of the process.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return time.Time{}, driver.ErrClosed
	}
	return time.Now(), nil
}

// Read implements [driver.Store].
func (s *Store) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := s.read(ctx, keys)
	return images, err
}

// Proves implements [driver.Prover]. Reads prove something if there is a journal.
func (s *Store) Proves() bool { return s.opts.JournalLength >= 0 }

// ReadProven implements [driver.Prover].
func (s *Store) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	images, head, err := s.read(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	return images, slices.Repeat([]driver.Revision{head}, len(keys)), nil
}

// Sweeps implements [driver.Sweeper].
func (s *Store) Sweeps() bool { return true }

// Swept implements [driver.Sweeper]. All keys are one group.
func (s *Store) Swept(ctx context.Context, keys []string) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, driver.ErrClosed
	}
	return slices.Repeat([]uint64{s.swept}, len(keys)), nil
}

func (s *Store) read(ctx context.Context, keys []string) (images [][]byte, head driver.Revision, err error) {
	if err := ctx.Err(); err != nil {
		return nil, head, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, head, driver.ErrClosed
	}
	images = make([][]byte, len(keys))
	now := time.Now()
	for i, key := range keys {
		images[i] = bytes.Clone(s.getLocked(key, now))
	}
	return images, driver.Revision{Epoch: s.epoch, Number: s.last}, nil
}

// Write implements [driver.Store].
func (s *Store) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.steps(ctx, writes, false)
}

// Fill implements [driver.Store].
func (s *Store) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.steps(ctx, writes, true)
}

func (s *Store) steps(ctx context.Context, writes []driver.Write, fill bool) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		receipts[i] = s.step(ctx, &writes[i], fill)
	}
	return receipts
}

// step is one atomic write.
func (s *Store) step(ctx context.Context, w *driver.Write, fill bool) driver.Receipt {
	if err := ctx.Err(); err != nil {
		return driver.Receipt{Err: err}
	}
	if s.opts.MaxImage > 0 && len(w.Image) > s.opts.MaxImage {
		return driver.Receipt{Err: driver.ErrTooLarge}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	r := driver.Receipt{Now: now}
	old := s.getLocked(w.Key, now)
	header, _ := driver.DecodeHeader(old) // no kind if there is no record of ours
	switch {
	case s.closed:
		r.Err = driver.ErrClosed
	case late(w.NotAfter, now):
		r.Err = driver.ErrTooLate
	case header.Kind != 0 && header.Kind != driver.KindLease && header.Nonce == nonce(w.Image):
		r.Revision = header.Revision // repeated
		if header.Kind == driver.KindWatermark {
			r.Entry = s.log.end() // that of the write may be lower than its revision
		}
	case fill && (!replaces(&header, w) || w.Born.Epoch != 0 && w.Born.Epoch != s.epoch):
		r.Err = driver.ErrLeaseLost
	case fill && !w.Journal:
		if header.Kind == driver.KindWatermark && kind(w.Image) == driver.KindTombstone {
			s.swept = max(s.swept, header.Clock)
		}
		r.Revision = s.fillLocked(w, &header, now)
		r.Entry = r.Revision.Number
		r.Revision = raised(w, &header, r.Revision)
		s.storeLocked(w, old, &header, r.Revision, now)
	default:
		r.Revision = s.nextLocked(w.Floor, now)
		s.log.add(entry{key: w.Key, revision: r.Revision, nonce: nonce(w.Image)})
		r.Entry = r.Revision.Number
		r.Revision = raised(w, &header, r.Revision)
		s.storeLocked(w, old, &header, r.Revision, now)
	}
	return r
}

// replaces reports whether the record of this header is the one that the fill w
// is to replace.
func replaces(header *driver.Record, w *driver.Write) bool {
	if w.Expect != 0 {
		return header.Kind != 0 && header.Nonce == w.Expect
	}
	return header.Kind == driver.KindLease && header.Nonce == nonce(w.Image)
}

// storeLocked puts what w makes of old, which has this header, in its place.
func (s *Store) storeLocked(w *driver.Write, old []byte, header *driver.Record, rev driver.Revision, now time.Time) {
	if w.KeepStale {
		if kept, ok := driver.StampStale(old, w.Image, rev); ok {
			s.items[w.Key] = item{image: kept, expires: s.items[w.Key].expires}
			return
		}
	}
	image := bytes.Clone(w.Image)
	driver.Stamp(image, rev, now, w.Soft, w.TTL)
	driver.KeepClock(image, old)
	if header.Kind != driver.KindWatermark {
		driver.RaiseClock(image, s.swept)
	}
	s.putLocked(w.Key, image, w.TTL, now)
}

func late(notAfter, now time.Time) bool { return !notAfter.IsZero() && now.After(notAfter) }

func kind(image []byte) driver.Kind { return driver.Kind(image[driver.KindOffset]) }

func nonce(image []byte) uint64 { return binary.BigEndian.Uint64(image[driver.NonceOffset:]) }

// tooFar is how far ahead of the clock a floor is that other revisions do not go on from.
const tooFar = 24 * time.Hour

// raised returns the revision of w, which is rev unless w is a watermark that has to be
// further ahead: see driver.Write.Floor.
func raised(w *driver.Write, old *driver.Record, rev driver.Revision) driver.Revision {
	if w.Floor == 0 || kind(w.Image) != driver.KindWatermark {
		return rev
	}
	least := []uint64{w.Floor, 0}
	if old.Kind == driver.KindWatermark || old.Kind == driver.KindLease {
		least[1] = old.Revision.Number + 1
	}
	for _, number := range least {
		if number <= driver.MaxRevision {
			rev.Number = max(rev.Number, number)
		}
	}
	return rev
}

// near returns floor, or 0 if it is too far ahead.
func near(floor uint64, now time.Time) uint64 {
	if floor >= uint64(now.Add(tooFar).UnixMicro()) {
		return 0
	}
	return floor
}

// nextLocked returns a revision above all that were given before, and not
// below floor unless that is too far ahead.
func (s *Store) nextLocked(floor uint64, now time.Time) driver.Revision {
	s.last = max(uint64(now.UnixMicro()), s.last+1, near(floor, now))
	return driver.Revision{Epoch: s.epoch, Number: s.last}
}

// fillLocked returns the revision of a fill that replaces the record of old. It
// is not below what was given to the key before: that is in old, or so old that
// the clock has passed it, unless the clock was set back.
func (s *Store) fillLocked(w *driver.Write, old *driver.Record, now time.Time) driver.Revision {
	at := uint64(now.UnixMicro())
	if w.Born.Number == 0 || s.last > at {
		return s.nextLocked(w.Floor, now)
	}
	number := max(old.Revision.Number+1, min(w.Born.Number, at), near(w.Floor, now))
	s.last = max(s.last, number)
	return driver.Revision{Epoch: s.epoch, Number: number}
}

// Acquire implements [driver.Store].
func (s *Store) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := make([]driver.Grant, len(leases))
	for i := range leases {
		grants[i] = s.grant(ctx, &leases[i])
	}
	return grants
}

func (s *Store) grant(ctx context.Context, l *driver.Lease) driver.Grant {
	if err := ctx.Err(); err != nil {
		return driver.Grant{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.closed:
		return driver.Grant{Err: driver.ErrClosed}
	case late(l.NotAfter, now):
		return driver.Grant{Now: now, Err: driver.ErrTooLate}
	}
	old := s.getLocked(l.Key, now)
	if l.Renew && !holds(old, l) {
		return driver.Grant{Now: now, Err: driver.ErrLeaseLost}
	}
	status, revision := judge(old, l)
	grant := driver.Grant{Status: status, Now: now}
	switch status {
	case driver.LeasePresent:
		grant.Image = bytes.Clone(old)
	case driver.LeaseGranted:
		grant.Image = bytes.Clone(old[:min(len(old), driver.HeaderSize)])
		grant.Revision = driver.Revision{Epoch: s.epoch, Number: max(uint64(now.UnixMicro()), s.last+1)}
		image := bytes.Clone(l.Image)
		driver.Stamp(image, revision, now, 0, l.TTL)
		s.putLocked(l.Key, image, l.TTL, now)
	}
	return grant
}

// holds reports whether old is the very lease l.
func holds(old []byte, l *driver.Lease) bool {
	header, err := driver.DecodeHeader(old)
	return err == nil && header.Kind == driver.KindLease && header.Nonce == nonce(l.Image)
}

// judge says what becomes of a request for a lease where old is stored. A
// lease carries on the revision of what it replaces.
func judge(old []byte, l *driver.Lease) (driver.GrantStatus, driver.Revision) {
	header, err := driver.DecodeHeader(old)
	switch {
	case old == nil || len(l.Discard) > 0 && bytes.HasPrefix(old, l.Discard) && !errors.Is(err, driver.ErrNewerFormat):
		return driver.LeaseGranted, header.Revision
	case err != nil:
		return driver.LeaseUnusable, driver.Revision{}
	case header.Kind == driver.KindWatermark:
		return driver.LeasePresent, header.Revision
	case header.Clock < l.MinClock:
		return driver.LeaseGranted, header.Revision
	case header.Kind == driver.KindLease && header.Nonce != nonce(l.Image):
		return driver.LeaseHeld, header.Revision
	case header.Kind == driver.KindValue || header.Kind == driver.KindNotFound:
		return driver.LeasePresent, header.Revision
	default:
		return driver.LeaseGranted, header.Revision
	}
}

func (s *Store) getLocked(key string, now time.Time) []byte {
	it, ok := s.items[key]
	if !ok || !it.expires.IsZero() && !now.Before(it.expires) {
		return nil
	}
	return it.image
}

func (s *Store) putLocked(key string, image []byte, ttl time.Duration, now time.Time) {
	it := item{image: image}
	if ttl > 0 {
		it.expires = now.Add(ttl)
	}
	s.items[key] = it
	s.sweepLocked(now)
}

// sweepLocked frees what expired, once in as many writes as items were kept the
// last time, so that it costs each write the same.
func (s *Store) sweepLocked(now time.Time) {
	if s.writes++; s.writes < s.kept+64 {
		return
	}
	for key, it := range s.items {
		if !it.expires.IsZero() && !now.Before(it.expires) {
			delete(s.items, key)
		}
	}
	s.writes, s.kept = 0, len(s.items)
}
