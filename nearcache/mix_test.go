package nearcache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// touchable is an unordered store that gives later ends as Memcached does: it stores the record
// once more, with another revision.
type touchable struct {
	unordered
	mu *sync.Mutex // held while a record changes
}

func (s touchable) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unordered.Write(ctx, writes)
}

func (s touchable) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unordered.Fill(ctx, writes)
}

func (s touchable) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unordered.Acquire(ctx, leases)
}

func (s touchable) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	receipts := make([]driver.Receipt, len(touches))
	for i, touch := range touches {
		images, err := s.Read(ctx, []string{touch.Key})
		receipts[i] = driver.Receipt{Now: time.Now(), Err: driver.ErrNotFound}
		if err != nil || images[0] == nil {
			continue
		}
		header, err := driver.DecodeHeader(images[0])
		if err != nil || header.Revision != touch.Revision {
			continue
		}
		if hard, ok := driver.Extend(images[0], time.Now(), touch.TTL); ok {
			w := driver.Write{Key: touch.Key, Image: images[0], Soft: touch.TTL, TTL: time.Until(hard)}
			receipts[i] = s.unordered.Write(ctx, []driver.Write{w})[0]
		}
	}
	return receipts
}

// mix is one key that two nodes use in all ways at the same time, while calls of the shared tier and
// loads take random times. What it is held to: reads of a node do not go back, and none misses
// what its node had written before.
type mix struct {
	truth atomic.Int64

	mu    sync.Mutex // protects the fields below
	dice  *rand.Rand
	reads map[*member][]mixedRead
	wrote map[*member][]mixedRead
}

type mixedRead struct {
	what       string
	start, end time.Time
	version    int64
}

// upTo is how long a call of the store takes at most, or a load.
const upTo = 40 * time.Millisecond

func (x *mix) roll(n int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dice.IntN(n)
}

func (x *mix) nap() { time.Sleep(time.Duration(x.roll(int(upTo)))) }

// load reads the truth at the beginning, and answers later.
func (x *mix) load(context.Context, string) (string, error) {
	v := strconv.FormatInt(x.truth.Load(), 10)
	x.nap()
	return v, nil
}

// read makes one of the reads that there are.
func (x *mix) read(ctx context.Context, m *member) {
	start := time.Now()
	var what, v string
	var err error
	switch x.roll(6) {
	case 0:
		what = "Fetch"
		v, err = m.Fetch(ctx, "k", x.load)
	case 1, 2:
		var values map[string]string
		what = "GetMany"
		values, err = m.GetMany(ctx, []string{"k", "other"})
		v = values["k"]
	case 3:
		var r nearcache.Result[string]
		what = "Read FromShared"
		r, err = m.Read(ctx, "k", nearcache.ReadOptions{FromShared: true}, nil)
		v = r.Value
	case 4:
		var r nearcache.Result[string]
		what = "Read MaxAge"
		r, err = m.Read(ctx, "k", nearcache.ReadOptions{MaxAge: 10 * time.Millisecond}, nil)
		v = r.Value
	default:
		what = "Warm"
		_, err = m.Warm(ctx, []string{"k", "other"}, nearcache.WarmOptions{KeysPerSecond: -1})
	}
	if v == "" || err != nil {
		return
	}
	version, err := strconv.ParseInt(v, 10, 64)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.reads[m] = append(x.reads[m], mixedRead{what, start, time.Now(), version})
	}
}

// role is what a worker may change. Two that set a key would have to agree on an order first: so
// where one sets values, nobody else changes the truth.
type role int

const (
	onlyEnds role = iota // nothing but tags and lifetimes
	onlyInvalidates
	alsoSets
)

// change makes one of the writes and sweeps that there are.
func (x *mix) change(ctx context.Context, m *member, as role) {
	start := time.Now()
	var what string
	var version int64
	var err error
	switch way := x.roll(10); {
	case way < 3: // so that reads do not join each other
		_ = m.InvalidateTags(ctx, "another")
		return
	case way == 3:
		_ = m.Touch(ctx, "k", time.Hour)
		return
	case as == onlyEnds:
		return
	case way == 4:
		version, what = x.truth.Add(1), "Refresh"
		err = m.Refresh(ctx, "k")
	case way == 5:
		version, what = x.truth.Add(1), "Clear"
		err = m.Clear(ctx)
	case way < 8 && as == alsoSets:
		version, what = x.truth.Add(1), "Set"
		err = m.Set(ctx, "k", strconv.FormatInt(version, 10))
	default:
		version, what = x.truth.Add(1), "Invalidate"
		err = m.Invalidate(ctx, "k")
	}
	if err != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wrote[m] = append(x.wrote[m], mixedRead{what, start, time.Now(), version})
}

// judge holds every read of a node against what it had answered and written before.
func (x *mix) judge(m *member) (broken []string) {
	for _, r := range x.reads[m] {
		for _, kind := range [][]mixedRead{x.reads[m], x.wrote[m]} {
			for _, before := range kind {
				if before.end.Before(r.start) && before.version > r.version {
					broken = append(broken, fmt.Sprintf("%s %v-%v has %d, after %s %v-%v of %d", r.what,
						r.start.Sub(zero), r.end.Sub(zero), r.version, before.what, before.start.Sub(zero), before.end.Sub(zero), before.version))
				}
			}
		}
	}
	return broken
}

var zero = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when bubbles begin

// TestG2_Mix: many reads of one key overlap on a node, of all kinds, with tags invalidated between
// them so that they do not share a read, and with writes, sweeps, touches and refreshes of both
// nodes. One of them hears nothing but from its own writes.
func TestG2_Mix(t *testing.T) {
	for name, set := range map[string]func(f *fleet){
		"with order":    func(*fleet) {},
		"with journal":  func(f *fleet) { f.journal = true },
		"announced":     func(f *fleet) { f.journal, f.announces = true, true },
		"without order": func(f *fleet) { f.store.Store = touchable{unordered{taciturn{f.store.Store}}, new(sync.Mutex)} },
	} {
		for _, hears := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/hears %t", name, hears), func(t *testing.T) {
				answers := 0
				for seed := range uint64(mixes) {
					bubble(t, func(t *testing.T, f *fleet) {
						set(f)
						broken, n := runMix(t, f, seed, hears)
						answers += n
						assert.Empty(t, broken, "seed %d", seed)
					})
					if t.Failed() {
						return
					}
				}
				require.Greater(t, answers, 100*mixes)
			})
		}
	}
}

const mixes = 4

// runMix returns what was broken, and how many answers had a value.
func runMix(t *testing.T, f *fleet, seed uint64, hears bool) (broken []string, answers int) {
	t.Helper()
	x := &mix{dice: rand.New(rand.NewPCG(seed, 0)), reads: map[*member][]mixedRead{}, wrote: map[*member][]mixedRead{}}
	opts := nearcache.Options[string]{Loader: nearcache.ValueLoader(x.load), TTL: time.Hour}
	a, b := f.join(opts), f.join(opts)
	a.link.loses.Store(!hears)
	slowly := func(_ context.Context, op, _ string) error {
		if op != "tail" {
			x.nap()
		}
		return nil
	}
	f.store.onBefore(slowly)
	f.store.onAfter(slowly)
	end := time.Now().Add(1500 * time.Millisecond)
	var all sync.WaitGroup
	repeat := func(most time.Duration, run func()) {
		all.Go(func() {
			for time.Now().Before(end) {
				run()
				time.Sleep(time.Duration(x.roll(int(most))))
			}
		})
	}
	for _, m := range []*member{a, b} {
		for range 5 {
			repeat(15*time.Millisecond, func() { x.read(t.Context(), m) })
		}
		first, second := onlyInvalidates, onlyInvalidates
		if seed%2 == 0 {
			first, second = onlyEnds, onlyEnds
			if m == b {
				first = alsoSets
			}
		}
		repeat(60*time.Millisecond, func() { x.change(t.Context(), m, first) })
		repeat(60*time.Millisecond, func() { x.change(t.Context(), m, second) })
	}
	all.Wait()
	f.store.onBefore(nil)
	f.store.onAfter(nil)
	synctest.Wait()
	for _, m := range []*member{a, b} {
		broken = append(broken, x.judge(m)...)
		answers += len(x.reads[m])
	}
	return broken, answers
}

// TestG2_MixFinds: the mix shows that a mechanism is missing which it is to be held to.
func TestG2_MixFinds(t *testing.T) {
	if !fault.Compiled {
		return
	}
	found := 0
	for seed := range uint64(20 * mixes) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.off = fault.Without(fault.Marks)
			broken, _ := runMix(t, f, seed, true)
			found += len(broken)
		})
		if found > 0 {
			return
		}
	}
	t.Error("nothing was broken")
}
