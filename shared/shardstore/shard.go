package shardstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/internal/bounded"
	"github.com/nearbus/nearbus/shared/internal/serverclock"
)

const (
	// registry is the key of the charter on every shard. No name ends like it.
	registry = "shards!map"

	// registryTTL is how long a process that dies while it writes a registry
	// holds up the others.
	registryTTL = time.Second

	registryPause = 10 * time.Millisecond
)

// shard is a store and what is known of it.
type shard struct {
	name       string
	store      driver.Store
	weight     int
	idle       bool
	journal    driver.Journaler // nil if it keeps none
	partitions int              // of its journal
	offset     int              // of its first partition among those of all shards

	clock *serverclock.Clock
	trust atomic.Pointer[trust]
	turn  chan struct{} // holds one element while somebody confirms the map
}

func newShard(s *Shard) *shard {
	sh := &shard{
		name: s.Name, store: s.Store, weight: max(s.Weight, 1), idle: s.Idle,
		clock: serverclock.New(), turn: make(chan struct{}, 1),
	}
	if j, ok := s.Store.(driver.Journaler); ok && j.Partitions() > 0 {
		sh.journal, sh.partitions = j, j.Partitions()
	}
	return sh
}

func (sh *shard) member() member {
	return member{Name: sh.name, Weight: sh.weight, Partitions: sh.partitions, hash: hash(sh.name)}
}

// trust says that a shard confirmed the map of a view.
type trust struct {
	view *view
	at   time.Time // when the question was sent
}

// trusted reports whether the shard confirmed the map of v within d.
func (sh *shard) trusted(v *view, d time.Duration) bool {
	t := sh.trust.Load()
	return t != nil && t.view == v && elapsed(t.at) < d
}

// elapsed returns the time since t. The monotonic clock stands still while the
// machine sleeps, and the wall clock may be set: the later one counts, and a
// wall clock that went back proves nothing.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	wall := now.Round(0).Sub(t.Round(0))
	return max(now.Sub(t), wall, -wall)
}

// failed names the shard that err comes from.
func (sh *shard) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("shardstore: shard %q: %w", sh.name, err)
}

// knowClock asks for the clock of the shard's server if it was never heard.
func (sh *shard) knowClock(ctx context.Context) error {
	if _, known := sh.clock.Now(); known {
		return nil
	}
	sent := time.Now()
	now, err := sh.store.Time(ctx)
	sh.clock.Observe(sent, time.Now(), now)
	return err
}

// found is what a registry holds.
type found struct {
	at      time.Time // when it was asked
	charter *charter  // nil if there is none
	header  []byte    // of the record
	err     error
}

// readRegistry reads the registry, and waits while somebody writes it.
func (sh *shard) readRegistry(ctx context.Context) found {
	for {
		f := found{at: time.Now()}
		images, err := sh.store.Read(ctx, []string{registry})
		if err == nil {
			err = sh.knowClock(ctx)
		}
		if err != nil {
			f.err = sh.failed(err)
			return f
		}
		leased := f.take(sh, images[0])
		if !leased {
			return f
		}
		if err := bounded.Sleep(ctx, registryPause/2+rand.N(registryPause)); err != nil {
			f.err = sh.failed(err)
			return f
		}
	}
}

// take reads the record image, and reports whether it is a lease.
func (f *found) take(sh *shard, image []byte) (leased bool) {
	if image == nil {
		return false
	}
	f.header = image[:min(len(image), driver.HeaderSize)]
	r, err := driver.DecodeRecord(image)
	switch {
	case errors.Is(err, driver.ErrNewerFormat):
		f.err = sh.failed(err)
	case err != nil: // damaged: as good as none
	case r.Kind == driver.KindLease:
		return !sh.expired(r.Hard)
	case r.Kind == driver.KindValue:
		f.charter, err = decodeCharter(r.Value)
		if err == nil && f.charter.Shard != sh.name {
			f.err = sh.failed(fmt.Errorf("%w: its registry says that it is %q", ErrMap, f.charter.Shard))
		}
	}
	return false
}

// expired reports whether a time of the shard's clock in milliseconds has
// passed. Servers drop what expired; this is for those that take their time.
func (sh *shard) expired(hard int64) bool {
	now, _ := sh.clock.Now()
	return hard != 0 && time.UnixMilli(hard).Before(now)
}

// writeRegistry replaces what f found by c, if it is still there and c is not
// older. It returns what the registry holds then.
func (sh *shard) writeRegistry(ctx context.Context, f found, c charter) found {
	c.Shard = sh.name
	token := driver.NewNonce()
	lease := driver.Record{Kind: driver.KindLease, Nonce: token, Clock: c.clock()}
	at := time.Now()
	grant := sh.store.Acquire(ctx, []driver.Lease{{
		Key: registry, Image: lease.Append(nil), TTL: registryTTL, MinClock: c.clock(), Discard: f.header,
	}})[0]
	switch {
	case grant.Err != nil:
		return found{at: at, err: sh.failed(grant.Err)}
	case grant.Status != driver.LeaseGranted:
		return sh.readRegistry(ctx) // somebody was faster
	}
	record := driver.Record{Kind: driver.KindValue, Nonce: token, Clock: c.clock(), Value: c.encode()}
	r := sh.store.Fill(ctx, []driver.Write{{Key: registry, Image: record.Append(nil)}})[0]
	if r.Err != nil && !errors.Is(r.Err, driver.ErrLeaseLost) {
		return found{at: at, err: sh.failed(r.Err)}
	}
	return sh.readRegistry(ctx)
}

// ours turns a time on the clock of the shard into one on that of the Store.
// theirs is the reverse. Zero is no time.
func (sh *shard) theirs(s *Store, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(sh.ahead(s))
}

// ahead returns by how much the shard's clock is ahead of that of the Store, or
// a little less.
func (sh *shard) ahead(s *Store) time.Duration {
	now, _ := sh.clock.Now()
	return now.Sub(s.now())
}

// translate turns the expiries of a record from the shard's clock into those
// of the Store's.
func (sh *shard) translate(s *Store, image []byte) {
	if _, err := driver.DecodeHeader(image); err != nil {
		return
	}
	ahead := sh.ahead(s).Milliseconds()
	for _, at := range []int{driver.StampOffset + 16, driver.StampOffset + 24} {
		if t := binary.BigEndian.Uint64(image[at:]); t != 0 {
			binary.BigEndian.PutUint64(image[at:], uint64(int64(t)-ahead))
		}
	}
}

// discardable returns the part of a header that the shard has as the Store
// gave it out: up to the revision, which names the record. The expiries after
// it were translated. It may be the beginning of a header alone.
func discardable(header []byte) []byte {
	whole := append(slices.Clone(header), make([]byte, driver.HeaderSize)...)
	if _, err := driver.DecodeHeader(whole); err != nil {
		return header
	}
	return header[:min(len(header), driver.StampOffset+16)]
}
