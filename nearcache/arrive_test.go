package nearcache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// arrivalOf is a way of a value in its variants.
type arrivalOf []arrivalBy

// arrivalBy has the old value of k arrive at a.
type arrivalBy struct {
	name    string
	opts    nearcache.Options[string]
	prepare func(s *arrivalScene) // before anything is on its way
	begin   func(s *arrivalScene) // returns at once; the old value waits for letGo
	later   func(s *arrivalScene) string
	alone   bool // nothing of it comes near, or is read again: it can only be overtaken on its way
	traits
}

// traits say what a way has to do with.
type traits struct {
	noTags  bool // it has none
	noOrder bool // it has no revision
	refresh bool // nobody waits for it
	own     bool // it is an own write
	kept    bool // it is no answer but where there is no other
	joined  bool // it is given to those who come late
	read    bool // it is in the shared tier, where who comes later finds it again
}

// arrivals has the cases of every way. A new way without cases does not compile.
var arrivals = [...]arrivalOf{
	nearcache.WayRecord: {
		{name: "Get", prepare: written, begin: held("read", (*arrivalScene).get), traits: traits{read: true}},
		{name: "GetMany", prepare: written, begin: held("read", (*arrivalScene).getMany), traits: traits{read: true}},
		{name: "Lookup from the shared tier", prepare: written, begin: held("read", (*arrivalScene).lookup), traits: traits{read: true}},
	},
	nearcache.WayAbsentRecord: {
		{name: "not found", opts: absentOptions, prepare: writtenAbsent, begin: held("read", (*arrivalScene).fetch), traits: traits{noTags: true}},
	},
	nearcache.WayKept: {
		{name: "fail-safe", opts: keptOptions, prepare: kept, begin: held("read", (*arrivalScene).fetchFailing), later: laterDown, traits: traits{kept: true}},
	},
	nearcache.WayRefreshRecord: {
		{name: "refresh finds", opts: refreshOptions, prepare: due, begin: held("read", (*arrivalScene).fetch), traits: traits{refresh: true}},
	},
	nearcache.WayWritten: {
		{name: "Set", begin: held("write", (*arrivalScene).setOld), traits: traits{own: true}},
		{name: "SetMany", begin: held("write", (*arrivalScene).setOldMany), traits: traits{own: true}},
	},
	nearcache.WayLoaded: {
		{name: "Fetch", begin: held("fill", (*arrivalScene).fetch)},
		{name: "FetchMany", begin: held("fill", (*arrivalScene).fetchMany)},
	},
	nearcache.WayLoadedAbsent: {
		{name: "not found", opts: absentOptions, prepare: noAction, begin: held("fill", (*arrivalScene).fetch), traits: traits{noTags: true}},
	},
	nearcache.WayRefreshed: {
		{name: "refresh loads", opts: refreshOptions, prepare: due, begin: held("fill", (*arrivalScene).fetch), traits: traits{refresh: true}},
	},
	nearcache.WayUnstored: {
		{name: "degraded", begin: degraded, traits: traits{noOrder: true}},
		{name: "degraded batch", begin: degradedMany, traits: traits{noOrder: true}},
	},
	nearcache.WayJoined: {
		{name: "a load", begin: loading, later: joining, alone: true, traits: traits{joined: true}},
		{name: "a load while the shared tier is down", begin: degraded, later: joining, alone: true, traits: traits{joined: true, noOrder: true}},
		{name: "a read", prepare: written, begin: held("read", (*arrivalScene).get), later: joining, alone: true, traits: traits{joined: true, read: true}},
	},
}

var _ [nearcache.Ways]arrivalOf = arrivals

// arrivalNews is a kind of news in its variants.
type arrivalNews []newsBy

// newsBy has a learn what ends the old value of k.
type newsBy struct {
	name    string
	tags    []string              // of all values
	prepare func(s *arrivalScene) // before the old value is on its way
	happen  func(s *arrivalScene)

	// without returns the mechanisms that have to be out for the old value to be
	// given, if the news comes while it is on its way or after it came near; none if
	// there is no such cell, for the reason that goes with it.
	without func(w *arrivalBy, after bool) ([]fault.Mechanism, string)
}

// newsTold has the cases of every kind of news.
var newsTold = [...]arrivalNews{
	nearcache.NewsWrite: {
		{name: "message of a write", happen: writeHeard, without: byWrite},
		{name: "journal of a write", happen: writeInJournal, without: byWrite},
	},
	nearcache.NewsRead:  {{name: "later write was read", prepare: earlierRead, happen: laterRead, without: byRead}},
	nearcache.NewsGiven: {{name: "unstored value was given", prepare: earlierLoad, happen: unstoredGiven, without: byGiven}},
	nearcache.NewsClear: {
		{name: "message of a Clear", happen: clearHeard, without: byClearHeard},
		{name: "clock was read", prepare: other, happen: clockRead, without: byClockRead},
	},
	nearcache.NewsTag: {
		{name: "message of a tag", tags: []string{"t"}, happen: tagHeard, without: byTagHeard},
		{name: "watermark was read", tags: []string{"t"}, prepare: other, happen: watermarkRead, without: byWatermarkRead},
	},
	nearcache.NewsLoss: {{name: "loss in the journal", happen: lost, without: byLoss}},
}

var _ [nearcache.Newses]arrivalNews = newsTold

// runArrival returns what a reader of a is given who begins after the news, for a cell
// of the table.
func runArrival(t *testing.T, w *arrivalBy, n *newsBy, after bool, off fault.Switches) (got string) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, w.opts, n.tags, off)
		for _, prepare := range []func(*arrivalScene){n.prepare, w.prepare} {
			if prepare != nil {
				prepare(s)
			}
		}
		w.begin(s)
		s.waitFor(s.held)
		if after {
			s.release()
			s.waitFor(s.arrived)
		}
		s.has(newValue)
		n.happen(s)
		if w.later != nil && w.joined {
			got = w.later(s)
			return
		}
		if !after {
			if w.kept {
				s.gateA.down() // or the old value would be looked for again before it is given
			}
			s.release()
			s.waitFor(s.arrived)
		}
		if w.later != nil {
			got = w.later(s)
			return
		}
		got = s.later()
	})
	return got
}

// TestArrivals: however a value arrives, and whatever its node learnt while it was on
// its way or since, no reader who begins after that is given it.
func TestArrivals(t *testing.T) {
	cells := 0
	for way, variants := range arrivals {
		for i := range variants {
			w := &variants[i]
			for kind, told := range newsTold {
				for j := range told {
					n := &told[j]
					for _, after := range []bool{false, true} {
						out, why := n.without(w, after)
						if why != "" || after && w.alone {
							continue
						}
						cells++
						name := fmt.Sprintf("%d %s, %d %s, after %t", way, w.name, kind, n.name, after)
						t.Run(name, func(t *testing.T) {
							assert.NotEqual(t, outdated(w), runArrival(t, w, n, after, fault.Without()))
							if fault.Compiled && len(out) > 0 {
								assert.Equal(t, outdated(w), runArrival(t, w, n, after, fault.Without(out...)), "the test sees what is compared: without %v", out)
							}
						})
					}
				}
			}
		}
	}
	t.Logf("%d cells", cells)
}

// outdated is what a reader must not be given.
func outdated(w *arrivalBy) string {
	if w.opts.NotFoundTTL > 0 {
		return nearcache.ErrNotFound.Error()
	}
	return oldValue
}

var (
	absentOptions  = nearcache.Options[string]{NotFoundTTL: time.Minute}
	keptOptions    = nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}}
	refreshOptions = nearcache.Options[string]{TTL: 20 * time.Second, RefreshAhead: 10 * time.Second}
)

// The calls of a.

func (s *arrivalScene) get(ctx context.Context)     { _, _ = s.a.Get(ctx, "k") }
func (s *arrivalScene) getMany(ctx context.Context) { _, _ = s.a.GetMany(ctx, []string{"k"}) }
func (s *arrivalScene) fetch(ctx context.Context)   { _, _ = s.a.FetchEntry(ctx, "k", s.load) }
func (s *arrivalScene) lookup(ctx context.Context) {
	_, _ = s.a.Read(ctx, "k", nearcache.ReadOptions{FromShared: true}, nil)
}

func (s *arrivalScene) fetchMany(ctx context.Context) {
	_, _ = s.a.FetchEntryMany(ctx, []string{"k"}, func(ctx context.Context, keys []string) (map[string]nearcache.Loaded[string], error) {
		e, err := s.load(ctx, keys[0], nil)
		return map[string]nearcache.Loaded[string]{"k": e}, err
	})
}

func (s *arrivalScene) fetchFailing(ctx context.Context) {
	_, _ = s.a.Fetch(ctx, "k", failing)
}

func (s *arrivalScene) setOld(ctx context.Context) {
	_ = s.a.SetEntry(ctx, "k", nearcache.Entry[string]{Value: oldValue, Tags: s.tags})
}

func (s *arrivalScene) setOldMany(ctx context.Context) {
	_ = s.a.SetEntryMany(ctx, map[string]nearcache.Entry[string]{"k": {Value: oldValue, Tags: s.tags}})
}

// held begins a call whose answer of the shared tier is held.
func held(op string, call func(*arrivalScene, context.Context)) func(s *arrivalScene) {
	return func(s *arrivalScene) {
		s.holdAnswer(op)
		s.start(func(ctx context.Context) { call(s, ctx) })
	}
}

// loading begins a load that has read the source and has not returned.
func loading(s *arrivalScene) {
	s.start(func(ctx context.Context) { _, _ = s.a.FetchEntry(ctx, "k", s.loadHeld) })
}

// failFirst fails the first read of k by a.
func failFirst(s *arrivalScene) {
	var once bool
	s.gateA.onBefore(func(_ context.Context, op, key string) error {
		if op == "read" && key == "users:k" && !once {
			once = true
			return errDown
		}
		return nil
	})
}

func degraded(s *arrivalScene) {
	failFirst(s)
	loading(s)
}

func degradedMany(s *arrivalScene) {
	failFirst(s)
	s.start(func(ctx context.Context) {
		_, _ = s.a.FetchEntryMany(ctx, []string{"k"}, func(ctx context.Context, keys []string) (map[string]nearcache.Loaded[string], error) {
			e, err := s.loadHeld(ctx, keys[0], nil)
			return map[string]nearcache.Loaded[string]{"k": e}, err
		})
	})
}

// What is there before.

func written(s *arrivalScene) { s.set(oldValue) }

func noAction(s *arrivalScene) { s.source.Store(nil) }

func writtenAbsent(s *arrivalScene) {
	noAction(s)
	_, err := s.b.FetchEntry(s.t.Context(), "k", s.load)
	assert.ErrorIs(s.t, err, nearcache.ErrNotFound)
}

// kept leaves an old value in the shared tier, for those who get no other.
func kept(s *arrivalScene) {
	s.set(oldValue)
	s.ok(s.b.Invalidate(s.t.Context(), "k"))
	settle()
}

// due brings the old value near a, and about to end.
func due(s *arrivalScene) {
	s.set(oldValue)
	s.get(s.t.Context())
	wait(11 * time.Second)
}

// other is a value that a knows no more of than of k: with the tag, and the clock.
func other(s *arrivalScene) {
	s.ok(s.b.SetEntry(s.t.Context(), "other", nearcache.Entry[string]{Value: "v", Tags: s.tags}))
	settle()
}

// What readers are given who come later.

// laterDown cannot read anything but what is near.
func laterDown(s *arrivalScene) string {
	s.gateA.down()
	got, err := s.a.Read(s.t.Context(), "k", nearcache.ReadOptions{}, nearcache.ValueLoader(failing))
	if err != nil {
		return err.Error()
	}
	return got.Value
}

// joining joins what is under way, if it may, and is given what that brings.
func joining(s *arrivalScene) string {
	got := make(chan string, 1)
	go func() { got <- s.later() }()
	synctest.Wait()
	s.release()
	s.waitFor(s.arrived)
	return <-got
}

// What happens, and what sees it.

func writeHeard(s *arrivalScene) {
	s.ok(s.b.Delete(s.t.Context(), "k"))
	settle()
}

func writeInJournal(s *arrivalScene) {
	s.a.link.loses.Store(true)
	s.ok(s.b.Delete(s.t.Context(), "k"))
	wait(1100 * time.Millisecond)
}

func byWrite(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case w.joined:
		return []fault.Mechanism{fault.Joins}, ""
	case after:
		return []fault.Mechanism{fault.Removals}, ""
	case w.own:
		return []fault.Mechanism{fault.OwnWrites}, ""
	}
	return []fault.Mechanism{fault.Marks}, ""
}

func clearHeard(s *arrivalScene) {
	s.ok(s.b.Clear(s.t.Context()))
	settle()
}

func byClearHeard(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case w.joined:
		return []fault.Mechanism{fault.Joins}, ""
	}
	return []fault.Mechanism{fault.CacheMark}, ""
}

func clockRead(s *arrivalScene) {
	s.deafen()
	s.ok(s.b.Clear(s.t.Context()))
	s.readOther()
}

func byClockRead(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case after, w.refresh: // what is to be refreshed is near
		return []fault.Mechanism{fault.CacheMark}, ""
	}
	return []fault.Mechanism{fault.Clock}, ""
}

func tagHeard(s *arrivalScene) {
	s.ok(s.b.InvalidateTags(s.t.Context(), "t"))
	settle()
}

func byTagHeard(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case w.noTags:
		return nil, "it has no tags"
	case !after && w.read:
		return []fault.Mechanism{fault.Watermarks}, ""
	case w.joined:
		return []fault.Mechanism{fault.Joins}, ""
	}
	return []fault.Mechanism{fault.TagMarks}, ""
}

func watermarkRead(s *arrivalScene) {
	s.deafen()
	s.ok(s.b.InvalidateTags(s.t.Context(), "t"))
	s.readOther()
}

func byWatermarkRead(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case w.noTags:
		return nil, "it has no tags"
	case after, w.refresh:
		return []fault.Mechanism{fault.TagMarks}, ""
	}
	return []fault.Mechanism{fault.Watermarks}, ""
}

func lost(s *arrivalScene) {
	s.store.BeginEpoch()
	wait(1100 * time.Millisecond)
}

func byLoss(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case w.joined && !w.read:
		return []fault.Mechanism{fault.Joins}, ""
	case w.kept && !after:
		return []fault.Mechanism{fault.Losses, fault.CacheMark, fault.Confirmation}, ""
	}
	return []fault.Mechanism{fault.Losses, fault.CacheMark}, ""
}

// earlierLoad has a load of a under way that will not be stored: the shared tier does
// not answer it. It ends as late as it is told to. What comes since is a flight of its
// own, since a hears of a write.
func earlierLoad(s *arrivalScene) {
	failFirst(s)
	began, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	letEnd := sync.OnceFunc(func() { close(end) })
	s.t.Cleanup(letEnd)
	go func() {
		defer close(ended)
		_, _ = s.a.FetchEntry(s.t.Context(), "k", func(ctx context.Context, key string, _ *string) (nearcache.Loaded[string], error) {
			close(began)
			<-end
			return s.load(ctx, key, nil)
		})
	}()
	s.waitFor(began)
	s.ok(s.b.Set(s.t.Context(), "k", "first"))
	s.ok(s.b.Delete(s.t.Context(), "k"))
	settle()
	wait(6 * time.Second) // until the tombstone is gone
	s.earlier = func() { letEnd(); s.waitFor(ended) }
}

// unstoredGiven has callers of a given a new value that is not stored.
func unstoredGiven(s *arrivalScene) { s.earlier() }

func byGiven(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case w.noOrder:
		return nil, "neither is stored: they have no order"
	case after, w.refresh: // what is to be refreshed is near
		return []fault.Mechanism{fault.PassedNews}, ""
	}
	return []fault.Mechanism{fault.Floors}, ""
}

// earlierRead has a read of a under way that the shared tier has not answered.
func earlierRead(s *arrivalScene) {
	began, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	letEnd := sync.OnceFunc(func() { close(end) })
	s.t.Cleanup(letEnd)
	var once atomic.Bool
	s.gateA.onBefore(func(_ context.Context, op, key string) error {
		if op == "read" && key == "users:k" && once.CompareAndSwap(false, true) {
			close(began)
			<-end
		}
		return nil
	})
	go func() {
		defer close(ended)
		_, _ = s.a.Get(s.t.Context(), "k")
	}()
	s.waitFor(began)
	s.ok(s.b.Set(s.t.Context(), "k", "first"))
	s.ok(s.b.Delete(s.t.Context(), "k"))
	settle()
	s.earlier = func() { letEnd(); s.waitFor(ended) }
}

// laterRead has a read a later write, which ends before the old value arrives, or stays.
func laterRead(s *arrivalScene) {
	settle() // the clock of the server goes on
	s.deafen()
	s.ok(s.b.SetEntry(s.t.Context(), "k", nearcache.Entry[string]{Value: newValue, TTL: 100 * time.Millisecond}))
	s.earlier()
	wait(200 * time.Millisecond)
}

func byRead(w *arrivalBy, after bool) ([]fault.Mechanism, string) {
	switch {
	case after:
		return []fault.Mechanism{fault.PassedNews}, ""
	case w.own:
		return []fault.Mechanism{fault.OwnWrites}, ""
	case w.refresh:
		return []fault.Mechanism{fault.PassedNews, fault.Overlaps}, ""
	}
	return []fault.Mechanism{fault.PassedNews}, ""
}
