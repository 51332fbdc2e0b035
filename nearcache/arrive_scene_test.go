package nearcache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/memstore"
)

// arrivalScene is one cell of the table of arrivals: on node a, the old value of k
// arrives by some way, while or before a learns of news that ends it. Node b changes
// things. Each node has a gate of its own before the one store.
type arrivalScene struct {
	t     *testing.T
	store *memstore.Store
	a, b  *member
	gateA *gate

	tags   []string               // of all values
	source atomic.Pointer[string] // what the source has; nil: nothing
	failed atomic.Bool            // it cannot be read

	held    chan struct{} // closed when the old value is on its way
	letGo   chan struct{} // closed when it may arrive
	release func()        // closes letGo
	arrived chan struct{} // closed when its call has returned
	earlier func()        // lets an earlier read or load of a end, see newsGiven
}

const (
	oldValue = "old"
	newValue = "new"
)

func newScene(t *testing.T, opts nearcache.Options[string], tags []string, off fault.Switches) *arrivalScene {
	f := newFleet(t)
	f.nodeOpts.SharedPatience = time.Minute // what the scene holds up is no silence
	f.journal, f.off = true, off
	f.tierOpts.Timeout = time.Minute // calls are held for long
	s := &arrivalScene{
		t: t, tags: tags, store: f.store.Store.(*memstore.Store), gateA: f.store,
		held: make(chan struct{}), letGo: make(chan struct{}), arrived: make(chan struct{}),
	}
	s.release = sync.OnceFunc(func() { close(s.letGo) })
	t.Cleanup(s.release)
	s.a = f.join(opts)
	f.store = &gate{Store: s.store, identity: s.store, hub: f.store.hub}
	s.b = f.join(opts)
	s.has(oldValue)
	return s
}

func (s *arrivalScene) has(v string) { s.source.Store(&v) }

// load reads the source at once.
func (s *arrivalScene) load(context.Context, string, *string) (nearcache.Loaded[string], error) {
	v := s.source.Load()
	switch {
	case s.failed.Load():
		return nearcache.Loaded[string]{}, errDown
	case v == nil:
		return nearcache.Loaded[string]{}, nearcache.ErrNotFound
	}
	return nearcache.Loaded[string]{Value: *v, Tags: s.tags}, nil
}

// loadHeld reads the source at once and takes until letGo to return.
func (s *arrivalScene) loadHeld(ctx context.Context, key string, _ *string) (nearcache.Loaded[string], error) {
	e, err := s.load(ctx, key, nil)
	s.hold()
	return e, err
}

func (s *arrivalScene) hold() {
	close(s.held)
	<-s.letGo
}

// holdAnswer holds the first answer of this kind that node a gets of k.
func (s *arrivalScene) holdAnswer(op string) {
	var once atomic.Bool
	s.gateA.onAfter(func(_ context.Context, o, key string) error {
		if o == op && key == "users:k" && once.CompareAndSwap(false, true) {
			s.hold()
		}
		return nil
	})
}

// go runs call, which brings the old value to a.
func (s *arrivalScene) start(call func(ctx context.Context)) {
	go func() {
		defer close(s.arrived)
		call(s.t.Context())
	}()
}

// deafen keeps news from a: what it learns it reads.
func (s *arrivalScene) deafen() {
	s.a.link.loses.Store(true)
	s.gateA.onBefore(func(_ context.Context, op, _ string) error {
		if op == "tail" {
			return errDown
		}
		return nil
	})
}

func (s *arrivalScene) ok(err error) { s.t.Helper(); require.NoError(s.t, err) }

// set has b write k.
func (s *arrivalScene) set(v string) {
	s.t.Helper()
	s.ok(s.b.SetEntry(s.t.Context(), "k", nearcache.Entry[string]{Value: v, Tags: s.tags}))
	settle()
}

// readOther has a read anew what tells of Clear and of the tag.
func (s *arrivalScene) readOther() {
	s.t.Helper()
	_, err := s.a.Read(s.t.Context(), "other", nearcache.ReadOptions{FromShared: true}, s.load)
	s.ok(err)
}

// later is what a reader of a is given who begins now.
func (s *arrivalScene) later() string {
	got, err := s.a.Read(s.t.Context(), "k", nearcache.ReadOptions{}, s.load)
	switch {
	case errors.Is(err, nearcache.ErrNotFound):
		return nearcache.ErrNotFound.Error() // for whatever reason
	case err != nil:
		return err.Error()
	}
	return got.Value
}

func (s *arrivalScene) waitFor(c chan struct{}) {
	s.t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		s.t.Fatal("it did not happen")
	}
	synctest.Wait()
}
