package nearcache_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// unordered is a store whose revisions have no order, and which tells none to writers, as
// Memcached is.
type unordered struct{ taciturn }

func (s unordered) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := s.taciturn.Read(ctx, keys)
	for _, image := range images {
		if header, err := driver.DecodeHeader(image); err == nil && header.Kind != driver.KindWatermark {
			driver.StampRevision(image, driver.Revision{Number: header.Revision.Number})
		}
	}
	return images, err
}

// fromShared reads k anew on a, and closes done.
func fromShared(t *testing.T, a *member, done chan<- struct{}) {
	defer close(done)
	_, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is(newValue)))
	assert.NoError(t, err)
}

// TestG2_LoadedWithoutARevision: a load spans an older record that a later read brings near,
// or is about to, while the node hears nothing. What was loaded has no revision to compare.
func TestG2_LoadedWithoutARevision(t *testing.T) {
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		for where, near := range map[string]bool{"near": true, "under way": false} {
			t.Run(name+"/older record is "+where, func(t *testing.T) {
				get := func(t *testing.T, off fault.Switches) string { return loadedWithoutARevision(t, stored, near, off) }
				switch {
				case near || stored:
					requireBoth(t, get, fault.PassedNews)
				default:
					requireBoth(t, get, fault.Floors)
				}
			})
		}
	}
}

func loadedWithoutARevision(t *testing.T, stored, near bool, off fault.Switches) (v string) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.off, f.tierOpts.Timeout = off, time.Minute
		f.store.Store = unordered{taciturn{f.store.Store}}
		a, b := f.join(), f.joinOver((&gate{Store: f.store.Store, identity: f.store.identity, hub: f.store.hub}).forNode(f))
		a.link.loses.Store(true)

		// The read before the load is on its way.
		held, loaded := make(chan struct{}), make(chan struct{})
		release := sync.OnceFunc(func() { close(held) })
		defer release()
		readOne := heldRead(f.store, false, held)
		go fromShared(t, a, loaded)
		<-readOne

		// A read that began later has the older record.
		require.NoError(t, b.Set(t.Context(), "k", oldValue))
		settle()
		answer, read := make(chan struct{}), make(chan struct{})
		answered := heldRead(f.store, true, answer)
		go fromShared(t, a, read)
		<-answered
		if near {
			close(answer)
			<-read
		}
		require.NoError(t, b.Delete(t.Context(), "k"))
		settle()
		f.store.onBefore(func(_ context.Context, op, _ string) error {
			if op == "acquire" && !stored {
				return errDown
			}
			return nil
		})
		release()
		<-loaded
		if !near {
			close(answer)
			<-read
		}
		v = "nothing"
		if got, err := a.Get(t.Context(), "k"); err == nil {
			v = got
		}
	})
	return v
}

// heldRead holds the first read until c is closed, before or after the store
// answers. What it returns is closed when the call is held.
func heldRead(g *gate, after bool, c chan struct{}) (held chan struct{}) {
	held = make(chan struct{})
	once := sync.OnceFunc(func() { close(held); <-c })
	hook := func(_ context.Context, op, _ string) error {
		if op != "read" {
			return nil
		}
		select {
		case <-held: // by an earlier call
		default:
			once()
		}
		return nil
	}
	if after {
		g.onAfter(hook)
	} else {
		g.onBefore(hook)
	}
	return held
}

// TestG2_ReadsThatOverlap: two reads of a key overlap since some tag was invalidated, so that the
// second did not join the first, and one of them has an older record. Whichever is answered
// first, nobody gets less afterwards.
func TestG2_ReadsThatOverlap(t *testing.T) {
	for name, c := range map[string]struct {
		run   func(t *testing.T, f *fleet, a, b *member) (first string)
		first string
	}{
		"the first has the older record":                 {olderLast(func(t *testing.T, b *member) error { return b.Set(t.Context(), "k", newValue) }), newValue},
		"the second has the older record":                {olderSecond, newValue},
		"the second found that there is no value by now": {olderLast(func(t *testing.T, b *member) error { return b.Delete(t.Context(), "k") }), ""},
	} {
		for order, wrap := range map[string]func(driver.Store) driver.Store{
			"with order":    func(s driver.Store) driver.Store { return s },
			"without order": func(s driver.Store) driver.Store { return unordered{taciturn{s}} },
		} {
			t.Run(name+"/"+order, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.store.Store = wrap(f.store.Store)
					a, b := f.join(), f.joinOver((&gate{Store: f.store.Store, identity: f.store.identity, hub: f.store.hub}).forNode(f))
					require.NoError(t, b.Set(t.Context(), "k", oldValue))
					settle()
					a.link.loses.Store(true)
					assert.Equal(t, c.first, c.run(t, f, a, b))
					got, _ := a.Get(t.Context(), "k")
					assert.Equal(t, c.first, got, "what was answered before")
				})
			})
		}
	}
}

// answerTo reads k on a, and says what came.
func answerTo(t *testing.T, a *member) <-chan string {
	got := make(chan string, 1)
	go func() {
		v, err := a.Get(t.Context(), "k")
		if err != nil {
			assert.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		got <- v
	}()
	return got
}

// olderLast has the first read answered last, with what there was before the change.
func olderLast(change func(*testing.T, *member) error) func(*testing.T, *fleet, *member, *member) string {
	return func(t *testing.T, f *fleet, a, b *member) string {
		held := make(chan struct{})
		reads := heldRead(f.store, true, held)
		older := answerTo(t, a)
		<-reads
		require.NoError(t, a.InvalidateTags(t.Context(), "another"))
		require.NoError(t, change(t, b))
		first := <-answerTo(t, a)
		close(held)
		assert.Equal(t, oldValue, <-older)
		return first
	}
}

func olderSecond(t *testing.T, f *fleet, a, b *member) string {
	before, after := make(chan struct{}), make(chan struct{})
	begins := heldRead(f.store, false, before)
	newer := answerTo(t, a)
	<-begins
	require.NoError(t, a.InvalidateTags(t.Context(), "another"))
	reads := heldRead(f.store, true, after)
	older := answerTo(t, a)
	<-reads
	require.NoError(t, b.Set(t.Context(), "k", newValue))
	close(before)
	first := <-newer
	close(after)
	assert.Equal(t, oldValue, <-older)
	return first
}

// TestG2_ReadsThatOverlap_AndLoad: the second of two reads that overlap found that there is no value,
// and goes on to load for another caller. Who only read has an answer by then: the first read, which
// has an older record, does not bring it near.
func TestG2_ReadsThatOverlap_AndLoad(t *testing.T) {
	for order, wrap := range map[string]func(driver.Store) driver.Store{
		"with order":    func(s driver.Store) driver.Store { return s },
		"without order": func(s driver.Store) driver.Store { return unordered{taciturn{s}} },
	} {
		t.Run(order, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.store.Store = wrap(f.store.Store)
				a, b := f.join(), f.joinOver((&gate{Store: f.store.Store, identity: f.store.identity, hub: f.store.hub}).forNode(f))
				require.NoError(t, b.Set(t.Context(), "k", oldValue))
				settle()
				a.link.loses.Store(true)

				held := make(chan struct{})
				reads := heldRead(f.store, true, held)
				older := answerTo(t, a)
				<-reads
				require.NoError(t, a.InvalidateTags(t.Context(), "another"))
				require.NoError(t, b.Delete(t.Context(), "k"))
				begin, loading, load := make(chan struct{}), make(chan struct{}), make(chan struct{})
				begins := heldRead(f.store, false, begin)
				second, loaded := answerTo(t, a), make(chan struct{})
				<-begins
				go func() { // ends with the load
					defer close(loaded)
					v, err := a.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
						close(loading)
						<-load
						return newValue, nil
					})
					assert.NoError(t, err)
					assert.Equal(t, newValue, v)
				}()
				synctest.Wait()
				close(begin)
				<-loading
				require.Empty(t, <-second)
				close(held)
				assert.Equal(t, oldValue, <-older)
				got, _ := a.Get(t.Context(), "k")
				assert.Empty(t, got, "there was no value before")
				close(load)
				<-loaded
				got, _ = a.Get(t.Context(), "k")
				assert.Equal(t, newValue, got)
			})
		})
	}
}
