package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/nearbus/nearbus/shared/driver"
)

func concurrencyCases() []testCase {
	return []testCase{
		{"concurrent writers", anything, concurrentWriters},
		{"concurrent writers of a watermark", anything, concurrentWatermarks},
		{"concurrent requests for one lease", anything, concurrentAcquire},
		{"concurrent fills of one lease", anything, concurrentFills},
		{"fill races a write", anything, fillRacesWrite},
		{"renewal races a write", anything, renewalRacesWrite},
	}
}

// revisionSet holds what was given out, and refuses what was given twice.
type revisionSet struct {
	mu      sync.Mutex // protects the following fields
	seen    map[driver.Revision]bool
	highest driver.Revision
}

func (set *revisionSet) add(r driver.Revision) error {
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.seen[r] {
		return fmt.Errorf("revision %d was given twice", r.Number)
	}
	set.seen[r] = true
	if r.Number > set.highest.Number {
		set.highest = r
	}
	return nil
}

// race lets writers write records of a kind to one key, many times each.
func (s *scene) race(record func() driver.Record, ordered bool) {
	const writers, writes = 8, 25
	set := revisionSet{seen: make(map[driver.Revision]bool)}
	nonces := make([]uint64, writers) // of each writer's last write
	s.together(writers, func(i int) error {
		var last driver.Revision
		for range writes {
			r := record()
			receipt := s.store.Write(s.ctx, []driver.Write{write("key", r)})[0]
			if receipt.Err != nil {
				return receipt.Err
			}
			nonces[i] = r.Nonce
			if !ordered {
				continue
			}
			if receipt.Revision.Number <= last.Number {
				return fmt.Errorf("revision %d after %d", receipt.Revision.Number, last.Number)
			}
			last = receipt.Revision
			if err := set.add(last); err != nil {
				return err
			}
		}
		return nil
	})
	got := s.record("key")
	if ordered {
		s.require(got.Revision == set.highest, "the last of all writes is not what is stored")
	}
	s.require(slices.Contains(nonces, got.Nonce), "what is stored is nobody's last write")
}

func concurrentWriters(s *scene) {
	s.race(func() driver.Record { return value("value") }, !s.harness.NoRevisions)
}

func concurrentWatermarks(s *scene) { s.race(watermark, true) }

func concurrentAcquire(s *scene) {
	for round := range 10 {
		key := fmt.Sprintf("round %d", round)
		const callers = 8
		var statuses [callers]driver.GrantStatus
		s.together(callers, func(i int) error {
			grant := s.tryAcquire(lease(key, uint64(i+1)))
			statuses[i] = grant.Status
			return grant.Err
		})
		var holders []uint64
		for i, status := range statuses {
			if status == driver.LeaseGranted {
				holders = append(holders, uint64(i+1))
			} else {
				s.require(status == driver.LeaseHeld, "status %d", status)
			}
		}
		s.require(len(holders) == 1, "%d hold the lease", len(holders))
		s.fill(filling(key, value("loaded"), holders[0]))
	}
}

func concurrentFills(s *scene) {
	for range 20 {
		token, holder := s.acquire("key"), rand.IntN(8)
		s.together(8, func(i int) error {
			mine := token + uint64(i-holder)
			err := s.tryFill(filling("key", value("loaded"), mine)).Err
			switch {
			case i == holder:
				return err
			case !errors.Is(err, driver.ErrLeaseLost):
				return errors.Join(errors.New("a fill without the lease was not refused as that"), err)
			}
			return nil
		})
		s.holds("key", "loaded")
		s.put(write("key", tombstone()))
	}
}

// fillRacesWrite requires that a write is what is left, whether a fill came
// before it or would have come after it.
func fillRacesWrite(s *scene) {
	for round := range 25 {
		key := fmt.Sprintf("round %d", round)
		token := s.acquire(key)
		s.together(2, func(i int) error {
			if i == round%2 { // either may be first
				return s.store.Write(s.ctx, []driver.Write{write(key, value("newer"))})[0].Err
			}
			err := s.tryFill(filling(key, value("loaded"), token)).Err
			if errors.Is(err, driver.ErrLeaseLost) {
				return nil
			}
			return err
		})
		s.holds(key, "newer")
	}
}

func renewalRacesWrite(s *scene) {
	for round := range 25 {
		key := fmt.Sprintf("round %d", round)
		token := s.acquire(key)
		s.together(2, func(i int) error {
			if i == round%2 { // either may be first
				return s.store.Write(s.ctx, []driver.Write{write(key, value("newer"))})[0].Err
			}
			l := lease(key, token)
			l.Renew = true
			err := s.tryAcquire(l).Err
			if errors.Is(err, driver.ErrLeaseLost) {
				return nil
			}
			return err
		})
		s.holds(key, "newer")
	}
}
