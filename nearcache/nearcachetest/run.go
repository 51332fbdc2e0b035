package nearcachetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// Fleet tells the suite how to make nodes that share caches.
type Fleet struct {
	// Join starts another node of the fleet. It is closed by the suite; what
	// else was started belongs to the caller and must outlive the suite. Nodes
	// of earlier cases may be gone when later ones join.
	Join func(ctx context.Context) (*nearcache.Node, error)

	// NoLeases says that the fleet has no shared tier, so that every node
	// loads for itself.
	NoLeases bool

	// Options are those of the caches. What they allow to be stale is outside of
	// the guarantees: a Stale.Timeout will be reported.
	Options nearcache.Options[int64]

	// Scale multiplies the number of operations. Zero means 1, about a second
	// of work in memory.
	Scale int
}

type testCase struct {
	name string
	run  func(ctx context.Context, f *env) error
	skip func(f Fleet) bool
}

// Run runs every case as a subtest.
func Run(t *testing.T, fleet Fleet) {
	for _, c := range cases {
		if c.skip != nil && c.skip(fleet) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if err := runCase(t.Context(), fleet, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check runs every case and returns what was violated, each error beginning
// with the name of its case, joined into one; nil if nothing was.
func Check(ctx context.Context, fleet Fleet) error {
	var errs []error
	for _, c := range cases {
		if c.skip != nil && c.skip(fleet) {
			continue
		}
		if err := runCase(ctx, fleet, c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

func runCase(ctx context.Context, fleet Fleet, c testCase) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	f, err := newEnv(ctx, fleet, c.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return c.run(ctx, f)
}
