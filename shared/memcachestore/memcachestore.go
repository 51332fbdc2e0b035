package memcachestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/nearbus/nearbus/shared/driver"
)

// maxParallel is how many writes, or leases, of one call run at a time.
const maxParallel = 16

// Store is a [driver.Store] in Memcached.
type Store struct {
	client *memcache.Client
	opts   Options
	places chan struct{} // holds one element for each call that may use a connection
	kept   kept
}

var (
	_ driver.Store   = (*Store)(nil)
	_ driver.Toucher = (*Store)(nil)
	_ driver.Placed  = (*Store)(nil)
	_ driver.Named   = (*Store)(nil)
)

// New returns a Store over client. It does not ask the servers. Set up the
// client before.
func New(client *memcache.Client, opts Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("memcachestore: New: the client is nil")
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	conns := client.MaxIdleConns
	if conns <= 0 {
		conns = memcache.DefaultMaxIdleConns
	}
	return &Store{client: client, opts: opts.withDefaults(), places: make(chan struct{}, conns)}, nil
}

// MaxImage returns what is left of Options.MaxItem for a record with the
// longest key.
func (s *Store) MaxImage() int { return s.opts.MaxItem - itemOverhead }

// IdentityKeys returns 128: the client chooses the server of a key by the list that it was
// given. If one of twenty servers is another, one of so many keys is on it with a
// probability of 99.8 %; another order, and another number, move nearly all of them.
func (s *Store) IdentityKeys() int { return 128 }

// Namespace implements [driver.Named].
func (s *Store) Namespace() string {
	if name, _ := driver.Namespace(s.opts.Namespace); name == s.opts.Prefix {
		return name
	}
	return ""
}

// Time returns the clock of this process; see the package documentation.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	return time.Now(), failed(ctx, "time", ctx.Err())
}

// Read implements [driver.Store].
func (s *Store) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := s.images(ctx, keys)
	if err != nil {
		return nil, failed(ctx, "read", err)
	}
	return images, nil
}

func (s *Store) images(ctx context.Context, keys []string) ([][]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if len(keys) == 1 {
		found, err := s.gets(ctx, s.name(keys[0]), time.Time{})
		return [][]byte{found.image}, err
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.name(key)
	}
	if err := ready(ctx, time.Time{}); err != nil {
		return nil, err
	}
	var items map[string]*memcache.Item
	err := s.read(ctx, func() (err error) {
		items, err = s.client.GetMulti(names)
		return err
	})
	if err != nil {
		return nil, err
	}
	images := make([][]byte, len(keys))
	for i, name := range names {
		found, err := examine(items[name], time.Now())
		if err != nil {
			return nil, err
		}
		images[i] = bytes.Clone(found.image) // a key may be asked for twice
	}
	return images, nil
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
	each(len(writes), func(i int) { receipts[i] = s.step(ctx, &writes[i], fill) })
	return receipts
}

// each calls f with 0 to n-1, several at a time, and waits: the protocol has no
// request that changes several items by their cas numbers.
func each(n int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	var helpers sync.WaitGroup
	for range min(n, maxParallel) - 1 {
		helpers.Go(work) // ends when nothing is left; waited for below
	}
	work()
	helpers.Wait()
}

// step is one atomic write.
func (s *Store) step(ctx context.Context, w *driver.Write, fill bool) driver.Receipt {
	if len(w.Image) > s.MaxImage() {
		return driver.Receipt{Now: time.Now(), Err: driver.ErrTooLarge}
	}
	var revision driver.Revision
	err := s.swap(ctx, "write", w.Key, w.NotAfter, func(old *stored) (change, error) {
		switch id := nonce(w.Image); {
		case old.carries(id, false): // repeated
			revision = old.watermark()
			return change{}, nil
		case fill && !replaces(old, w):
			return change{}, driver.ErrLeaseLost
		}
		now := time.Now()
		if kept, ok := keep(old, w, now); ok {
			return kept, nil
		}
		revision = next(old, w, now)
		driver.Stamp(w.Image, revision, now, w.Soft, w.TTL)
		driver.KeepClock(w.Image, old.image)
		return change{w.Image, w.TTL}, nil
	})
	if err != nil {
		return driver.Receipt{Now: time.Now(), Err: err}
	}
	return driver.Receipt{Revision: revision, Now: time.Now()}
}

// replaces reports whether old is the record that the fill w is to replace.
func replaces(old *stored, w *driver.Write) bool {
	if w.Expect != 0 {
		return old.image != nil && old.err == nil && old.header.Nonce == w.Expect
	}
	return old.carries(nonce(w.Image), true)
}

// keep returns what w leaves of old, if w is to keep its value and there is one.
func keep(old *stored, w *driver.Write, now time.Time) (change, bool) {
	if !w.KeepStale {
		return change{}, false
	}
	image, ok := driver.StampStale(old.image, w.Image, driver.Revision{})
	if !ok {
		return change{}, false
	}
	left := time.Duration(0)
	if old.header.Hard != 0 {
		left = max(1, time.UnixMilli(old.header.Hard).Sub(now))
	}
	return change{image, left}, true
}

func nonce(image []byte) uint64 { return binary.BigEndian.Uint64(image[driver.NonceOffset:]) }

// next returns the revision that w is stored with: none, unless it is a
// watermark. That is above the one that is there, whatever clock that was raised by.
func next(old *stored, w *driver.Write, now time.Time) driver.Revision {
	if driver.Kind(w.Image[driver.KindOffset]) != driver.KindWatermark {
		return driver.Revision{}
	}
	number := uint64(now.UnixMicro())
	for _, least := range []uint64{old.watermark().Number + 1, w.Floor} {
		if least <= driver.MaxRevision {
			number = max(number, least)
		}
	}
	return driver.Revision{Number: number}
}

// Acquire implements [driver.Store].
func (s *Store) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := make([]driver.Grant, len(leases))
	each(len(leases), func(i int) { grants[i] = s.grant(ctx, &leases[i]) })
	return grants
}

func (s *Store) grant(ctx context.Context, l *driver.Lease) driver.Grant {
	var grant driver.Grant
	err := s.swap(ctx, "acquire", l.Key, l.NotAfter, func(old *stored) (change, error) {
		if l.Renew && !old.carries(nonce(l.Image), true) {
			return change{}, driver.ErrLeaseLost
		}
		grant = driver.Grant{Status: judge(old, l)}
		switch grant.Status {
		case driver.LeasePresent:
			grant.Image = old.image
		case driver.LeaseGranted:
			grant.Image = bytes.Clone(old.image[:min(len(old.image), driver.HeaderSize)])
			image := bytes.Clone(l.Image)
			driver.Stamp(image, driver.Revision{}, time.Now(), 0, l.TTL)
			return change{image, l.TTL}, nil
		}
		return change{}, nil
	})
	if err != nil {
		grant = driver.Grant{Err: err}
	}
	grant.Now = time.Now()
	return grant
}

// judge says what becomes of a request for a lease where old is stored.
func judge(old *stored, l *driver.Lease) driver.GrantStatus {
	discard := len(l.Discard) > 0 && bytes.HasPrefix(old.image, l.Discard)
	switch {
	case errors.Is(old.err, driver.ErrNewerFormat):
		return driver.LeaseUnusable
	case old.image == nil || discard:
		return driver.LeaseGranted
	case old.err != nil:
		return driver.LeaseUnusable
	case old.header.Kind == driver.KindWatermark:
		return driver.LeasePresent
	case old.header.Clock < l.MinClock:
		return driver.LeaseGranted
	case old.header.Kind == driver.KindLease && old.header.Nonce != nonce(l.Image):
		return driver.LeaseHeld
	case old.header.Kind == driver.KindValue || old.header.Kind == driver.KindNotFound:
		return driver.LeasePresent
	}
	return driver.LeaseGranted
}
