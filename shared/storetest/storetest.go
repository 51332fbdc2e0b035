// Package storetest is the suite for every [driver.Store]. The author of a driver
// writes one test:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, storetest.Harness{New: open}, false)
//	}
//
// The suite tests one store at a time, for the properties a fleet relies on:
//
//   - Records come back as written.
//   - Revisions rise.
//   - Deadlines, expiries and leases hold.
//   - The journal tells of every write.
//   - No key or foreign byte disturbs another.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Harness makes the stores that the suite tests, and says what is special about
// them.
type Harness struct {
	// New returns a store that is empty and whose keys no other store has. Each
	// case asks for one. Who made the harness closes what it opens.
	New func() (driver.Store, error)

	// Plant puts data under key as if store had written it, whatever it is. The
	// keys that it is called with are words with hyphens. It is nil where
	// there is no way to; then what is foreign or damaged is not tested.
	Plant func(ctx context.Context, store driver.Store, key string, data []byte) error

	// NoRevisions is set for a store that does not learn the revision of a
	// write, and whose revisions compare by equality only. Watermarks have
	// ordered revisions in every store.
	NoRevisions bool

	// NoJournal is set for a store that keeps none.
	NoJournal bool
}

// patience is how long a case waits for what must happen. In a bubble it costs
// nothing.
const patience = 20 * time.Second

// Run runs each case of the suite as a subtest. With bubble set, which is for
// drivers that use no network, each runs in a bubble of [synctest], so that no
// case takes long and no goroutine may be left behind. Otherwise cases run in
// parallel, because some wait for an expiry: the functions of h are called at
// the same time, and what they use must stay open until t's Cleanup.
func Run(t *testing.T, h Harness, bubble bool) {
	for _, c := range casesFor(h) {
		t.Run(c.name, func(t *testing.T) {
			test := func(t *testing.T) {
				if err := c.check(t.Context(), h); err != nil {
					t.Error(err)
				}
			}
			if bubble {
				synctest.Test(t, test)
				return
			}
			t.Parallel()
			test(t)
		})
	}
}

// Check runs all cases and returns the failures, joined, each beginning with
// the name of its case.
func Check(ctx context.Context, h Harness) error {
	var failures []error
	for _, c := range casesFor(h) {
		if err := c.check(ctx, h); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(failures...)
}

// testCase is one promise of a store.
type testCase struct {
	name  string
	needs need
	run   func(*scene)
}

// need is what a case asks of the harness.
type need uint8

const (
	anything  need = 0
	plant     need = 1 << 0
	revisions need = 1 << 1
	journal   need = 1 << 2
)

func (h *Harness) offers() need {
	offers := anything
	if h.Plant != nil {
		offers |= plant
	}
	if !h.NoRevisions {
		offers |= revisions
	}
	if !h.NoJournal {
		offers |= journal
	}
	return offers
}

func casesFor(h Harness) []testCase {
	var cases []testCase
	for _, group := range [][]testCase{
		valueCases(), keyCases(), expiryCases(), writeCases(), leaseCases(), fillCases(), refreshCases(), touchCases(),
		sweepCases(), foreignCases(), contextCases(), concurrencyCases(), journalCases(),
	} {
		for _, c := range group {
			if c.needs&^h.offers() == 0 {
				cases = append(cases, c)
			}
		}
	}
	return cases
}

func (c *testCase) check(ctx context.Context, h Harness) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	s := &scene{ctx: ctx, harness: h}
	if s.store, err = h.New(); err != nil {
		return fmt.Errorf("new store: %w", err)
	}
	defer violated(&err)
	c.run(s)
	return nil
}
