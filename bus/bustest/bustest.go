// Package bustest is the suite for every [bus.Transport], and for the [bus.Bus] over
// it. The author of a driver writes one test:
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Harness{Join: join}, false)
//	}
//
// The package also has a transport with faults on demand, [Faulty].
package bustest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// Harness makes the transports that the suite tests.
type Harness struct {
	// Join returns a new transport on the named channel, such as another
	// process would use. Who made the harness closes what it opens.
	Join func(channel string) (bus.Transport, error)

	// Break cuts the connections of all transports on the named channel once,
	// so that they can come back. It is nil for a driver that has none; then
	// what a lost connection does is not tested.
	Break func(ctx context.Context, channel string) error
}

// patience is how long a case waits for what must happen. In a bubble it costs
// nothing.
const patience = 20 * time.Second

// caseLimit is how long a case may take: one publishes 64 MiB, of which a stream with
// replicas takes each message only once most of them have it.
const caseLimit = 9 * patience

// Run runs each case of the suite as a subtest. With bubble set, which is for
// drivers that use no network, each runs in a bubble of [synctest], so that no
// case takes long and no goroutine may be left behind.
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
			} else {
				test(t)
			}
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

// testCase is one promise of a transport, or of a Bus over it.
type testCase struct {
	name   string
	breaks bool // uses Harness.Break
	run    func(*scene)
}

func casesFor(h Harness) []testCase {
	var cases []testCase
	for _, c := range append(transportCases(), busCases()...) {
		if h.Break != nil || !c.breaks {
			cases = append(cases, c)
		}
	}
	return cases
}

func (c *testCase) check(ctx context.Context, h Harness) (err error) {
	ctx, cancel := context.WithTimeout(ctx, caseLimit)
	s := &scene{ctx: ctx, harness: h, channel: fmt.Sprintf("bustest-%x", rand.Uint64())}
	defer cancel()
	defer s.end(&err)
	c.run(s)
	return nil
}

// scene is the surroundings of one run of a case.
type scene struct {
	ctx     context.Context
	harness Harness
	channel string
	undo    []func() error
}

// violation is what a case panics with to end itself.
type violation struct{ error }

// require ends the case with a violation unless ok.
func (s *scene) require(ok bool, format string, args ...any) {
	if !ok {
		panic(violation{fmt.Errorf(format, args...)})
	}
}

func (s *scene) noError(err error, doing string) {
	s.require(err == nil, "%s: %w", doing, err)
}

// until waits until ok returns true.
func (s *scene) until(ok func() bool, format string, args ...any) {
	deadline := time.Now().Add(patience)
	for !ok() {
		s.require(time.Now().Before(deadline) && s.ctx.Err() == nil,
			"in vain waited for: "+format, args...)
		wait(s.ctx, 2*time.Millisecond)
	}
}

// end cleans up and turns a violation into an error.
func (s *scene) end(err *error) {
	p := recover()
	if v, ok := p.(violation); ok {
		*err, p = v.error, nil
	}
	for _, undo := range slices.Backward(s.undo) {
		*err = errors.Join(*err, undo())
	}
	if p != nil {
		panic(p)
	}
}

func (s *scene) join() bus.Transport { return s.joinChannel(s.channel) }

func (s *scene) joinChannel(channel string) bus.Transport {
	t, err := s.harness.Join(channel)
	s.noError(err, "join")
	return t
}

// publish publishes through t, which may not take long.
func (s *scene) publish(t bus.Transport, payload string) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	s.noError(t.Publish(ctx, []byte(payload)), "publish")
}

// within reports whether done is closed in time.
func within[T any](done <-chan T) bool {
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}
