package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Found is what [Tier.Read] found under one key.
type Found struct {
	driver.Record // set when Err is nil

	// Left is the lifetime that remains: until the soft expiry if there is one,
	// or, if Kept, until the record is gone. Zero means no expiry.
	Left time.Duration

	// Kept says that the record reads as absent and holds a value all the same:
	// past its soft expiry, or invalidated. It is for those who have no other.
	Kept bool

	// Err is nil for a live value, not-found record or watermark. It is ErrNotFound when there
	// is none, ErrNewerFormat for a record that must be left alone, and wraps
	// ErrUnread where the server of this key failed and those of others did
	// not, or ErrCorrupt for anything else.
	Err error

	// Size is the length of what is stored, in bytes, with the header of the record.
	Size int

	// Header is the beginning of what is stored; pass it to Acquire as the
	// record to be replaced when the value proved unusable.
	Header []byte

	// Head tells how new the server is that answered, whatever it found, if
	// [Tier.Proves]: see [driver.Prover].
	Head driver.Revision
}

// Put is one record for [Tier.Write] or [Tier.Fill] to store.
type Put struct {
	Key string

	// Record is what to store. Its revision and expiries are given by the
	// store. A Nonce of zero is replaced by a new one; for Fill without Expect
	// it is the token of the lease.
	Record driver.Record

	// TTL is the lifetime; zero means none, or Options.TombstoneTTL for a
	// tombstone. It is not negative, and no longer than MaxDuration.
	TTL time.Duration

	// Keep is how much longer than TTL the record is kept for those who have no
	// other value. It reads as absent then: see Found.Kept. It is not negative, and no
	// longer than MaxDuration.
	Keep time.Duration

	Expect    uint64               // as in [driver.Write]
	KeepStale bool                 // as in [driver.Write]
	Floor     uint64               // as in [driver.Write]
	Born      driver.Revision      // as in [driver.Write]; of Claimed.Revision
	Journal   bool                 // as in [driver.Write]
	Announce  *driver.Announcement // as in [driver.Write]
}

// Read reads keys in one round trip. The result is in the order of keys. The
// error is nil if at least one key was read; see [ErrUnread] for the others.
func (t *Tier) Read(ctx context.Context, keys []string) ([]Found, error) {
	return t.ReadWithin(ctx, t.opts.Timeout, keys)
}

// ReadWithin is Read for who waits no longer than limit, if that is shorter than Options.Timeout.
func (t *Tier) ReadWithin(ctx context.Context, limit time.Duration, keys []string) ([]Found, error) {
	names, err := t.checkAll(keys)
	if err != nil {
		return nil, err
	}
	found := make([]Found, len(names))
	left, some := names, false
	var places []int // of those that are still to be read; nil: of all
	err = t.do(ctx, min(limit, t.opts.Timeout), func(ctx context.Context) (again bool, err error) {
		images, heads, err := t.read(ctx, left)
		unread, partial := partOf(err, len(images))
		if err != nil && !partial {
			return transient(err), err
		}
		some = true
		var failed []int
		now, _ := t.clock.now()
		for i, image := range images {
			at := i
			if places != nil {
				at = places[i]
			}
			if partial && unread[i] != nil {
				found[at].Err = fmt.Errorf("%w: %w", ErrUnread, unread[i])
				if transient(unread[i]) {
					failed = append(failed, at)
				}
				continue
			}
			found[at] = Found{Head: heads[i]}
			t.count(t.find(image, &found[at], now))
		}
		left, places = pick(names, failed), failed
		return len(failed) > 0, nil
	})
	if !some {
		return nil, err
	}
	return found, nil
}

// read is that of the store. Heads are zero if the store does not prove its reads.
func (t *Tier) read(ctx context.Context, keys []string) (images [][]byte, heads []driver.Revision, err error) {
	if t.prover != nil {
		return t.prover.ReadProven(ctx, keys)
	}
	images, err = t.store.Read(ctx, keys)
	return images, make([]driver.Revision, len(images)), err
}

// pick returns the elements of all at these places, which are in order: all itself if it is all of them.
func pick[E any](all []E, places []int) []E {
	if len(places) == len(all) {
		return all
	}
	some := make([]E, len(places))
	for i, at := range places {
		some[i] = all[at]
	}
	return some
}

// find enters into f, which has its head at most, what is stored under a key, now on the server's
// clock. The error is that of a record which cannot be read at all.
func (t *Tier) find(image []byte, f *Found, now time.Time) (damage error) {
	if image == nil {
		f.Err = ErrNotFound
		return nil
	}
	f.Size, f.Header = len(image), image[:min(len(image), driver.HeaderSize)]
	if f.Record, f.Err = driver.DecodeRecord(image); f.Err != nil {
		return f.Err
	}
	value, err := t.unpack(&f.Record)
	if f.judge(now); err != nil {
		f.Err, f.Kept, f.Value = err, false, nil
		return fmt.Errorf("%w: %w", errPacked, err)
	}
	f.Value, f.Compression = value, driver.CompressionNone
	return nil
}

// errPacked is, beside [driver.ErrCorrupt], for a value that cannot be decompressed.
var errPacked = errors.New("shared: compressed value")

// count counts a record that cannot be read.
func (t *Tier) count(damage error) {
	switch {
	case damage == nil:
	case errors.Is(damage, ErrNewerFormat):
		t.newer.Add(1)
	case errors.Is(damage, errPacked):
		t.undecodable.Add(1)
	default:
		t.corrupt.Add(1)
	}
}

// judge says whether the record found is live.
func (f *Found) judge(now time.Time) {
	left := func(expiry int64) time.Duration { return time.UnixMilli(expiry).Sub(now) }
	gone := f.Hard != 0 && left(f.Hard) <= 0
	overdue := f.Soft != 0 && left(f.Soft) <= 0
	if gone || overdue || f.Kind == driver.KindTombstone || f.Kind == driver.KindLease || f.Kind == driver.KindStale {
		f.Err = ErrNotFound
	}
	f.Kept = !gone && (f.Kind == driver.KindStale || f.Kind == driver.KindValue && overdue)
	switch {
	case f.Soft != 0 && !f.Kept:
		f.Left = left(f.Soft)
	case f.Hard != 0:
		f.Left = left(f.Hard)
	}
}

// Newest returns a number that no revision of key has passed yet which a store
// with a journal gave, unless the server's clock was set back, or set forward since
// its latest answer. Before the server was heard it goes by the clock of this
// machine.
func (t *Tier) Newest(key string) (number uint64) {
	at := t.clock.atMost()
	if c, ok := t.store.(driver.Clocked); ok {
		at = c.AtMost(t.name(key))
	}
	return uint64(at.UnixMicro()) + 1
}

// Write stores puts in one round trip where the store can. Each receipt tells
// what became of the put in its place. An error other than [ErrInvalidKey],
// [ErrTooLarge], [ErrTooLate], [ErrOpen] and [ErrClosed] leaves the outcome open.
func (t *Tier) Write(ctx context.Context, puts []Put) []driver.Receipt {
	return t.put(ctx, puts, t.store.Write)
}

// Fill is Write for holders of leases: it stores each put if the lease whose
// token is Record.Nonce is still in its place, or, with Expect, the record of that
// nonce; otherwise its error is [ErrLeaseLost].
func (t *Tier) Fill(ctx context.Context, puts []Put) []driver.Receipt {
	return t.put(ctx, puts, t.store.Fill)
}

// put carries out puts in the way of store.
func (t *Tier) put(ctx context.Context, puts []Put, store func(context.Context, []driver.Write) []driver.Receipt) []driver.Receipt {
	receipts := make([]driver.Receipt, len(puts))
	writes := make([]driver.Write, 0, len(puts))
	places := make([]int, 0, len(puts))
	for i := range puts {
		w, err := t.write(&puts[i])
		if err != nil {
			receipts[i].Err = err
			continue
		}
		writes, places = append(writes, w), append(places, i)
	}
	if len(writes) == 0 {
		return receipts
	}
	for i, r := range t.deliver(ctx, writes, store) {
		receipts[places[i]] = r
	}
	return receipts
}

// write makes the driver's form of p.
func (t *Tier) write(p *Put) (driver.Write, error) {
	name, err := t.check(p.Key)
	if err != nil {
		return driver.Write{}, err
	}
	if n := len(p.Record.Value) + p.Record.Extension(); n > t.maxValue {
		return driver.Write{}, fmt.Errorf("%w: %q: %d bytes, more than %d", ErrTooLarge, p.Key, n, t.maxValue)
	}
	if n := len(p.Record.Slots); n > driver.MaxSlots {
		return driver.Write{}, fmt.Errorf("%w: %q: %d tag slots, more than %d", ErrTooLarge, p.Key, n, driver.MaxSlots)
	}
	if p.TTL < 0 || p.TTL > MaxDuration || p.Keep < 0 || p.Keep > MaxDuration {
		return driver.Write{}, fmt.Errorf("shared: %q: Put.TTL is %v and Put.Keep %v, not in 0 to %v", p.Key, p.TTL, p.Keep, MaxDuration)
	}
	if r := &p.Record; r.NearTTL < 0 || r.NearTTL > MaxDuration || r.Ahead < 0 || r.Ahead > MaxDuration {
		return driver.Write{}, fmt.Errorf("shared: %q: Record.NearTTL is %v and Record.Ahead %v, not in 0 to %v", p.Key, r.NearTTL, r.Ahead, MaxDuration)
	}
	p.Record.Nonce = cmp.Or(p.Record.Nonce, driver.NewNonce())
	if p.Record.Kind == driver.KindTombstone {
		p.TTL = cmp.Or(p.TTL, t.opts.TombstoneTTL)
	}
	r := p.Record
	if r.Value, r.Compression, err = t.pack(r.Value); err != nil {
		return driver.Write{}, fmt.Errorf("%q: %w", p.Key, err)
	}
	if n := r.Size() - driver.HeaderSize; n > t.maxStored {
		return driver.Write{}, fmt.Errorf("%w: %q: %d bytes compressed, more than %d", ErrTooLarge, p.Key, n, t.maxStored)
	}
	image := r.Append(make([]byte, 0, r.Size()))
	w := driver.Write{
		Key: name, Image: image, TTL: p.TTL,
		Expect: p.Expect, KeepStale: p.KeepStale, Floor: p.Floor, Born: p.Born, Journal: p.Journal, Announce: p.Announce,
	}
	if p.Keep > 0 && p.TTL > 0 {
		w.Soft, w.TTL = p.TTL, p.TTL+p.Keep
	}
	return w, nil
}
