package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
)

const (
	// warmRate is WarmOptions.KeysPerSecond by default.
	warmRate = 10_000

	// warmBatch is how many keys Warm reads at a time at most. Their values are in memory twice
	// while they are decoded.
	warmBatch = 128

	// warmFirst is how many keys tell what a value takes.
	warmFirst = 16

	// warmBatches is how many batches there are in a second at least.
	warmBatches = 20
)

// WarmOptions are how [Cache.Warm] reads. The zero value is meant for production.
type WarmOptions struct {
	// KeysPerSecond is how many keys are read from the shared tier each second at most; keys that
	// are near already cost nothing. Zero means 10,000; negative means no limit.
	KeysPerSecond int
}

// WarmResult says what became of the keys that [Cache.Warm] was given. Each is counted once.
type WarmResult struct {
	Warmed  int // read, and near now
	Near    int // near already, or being read by others; repetitions, too
	Absent  int // without a value in the shared tier that came near: see ErrNotFound
	Invalid int // no keys: see ErrInvalidKey
	Failed  int // not answered by the shared tier, or changed by this node with an unknown outcome
	Left    int // not tried: the context ended, the near tier is full, or the shared tier failed

	Full bool // the near tier is full
}

// HottestKeys returns up to n keys of this cache that are in the near tier, those first that the
// near tier would keep longest: a list for [Cache.Warm] of the process that follows. Save it while
// the service stops, or now and then; a cache that was closed has none.
//
// What is known of a key is whether it was read three times, twice, once or not at all since it came
// near or had its turn to leave; the order of keys that do not differ in that has no meaning. That
// costs a hit nothing. A call walks through the whole near tier of the node and takes no lock. It may be
// called at any time. The keys are copies.
func (c *Cache[V]) HottestKeys(n int) []string {
	if n <= 0 {
		return nil
	}
	entries := c.keys.Space.Hottest(n)
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = strings.Clone(e.Key()) // or the list would hold the values
	}
	return keys
}

// Warm reads keys from the shared tier, and from nowhere else, and keeps near what it finds, as a
// read would: nothing is loaded, and nothing that comes near is older than what any read may give. Call it
// before the process takes requests, with keys of [Cache.HottestKeys] of another one, the
// most useful first, and a context that ends when the process has to be ready.
//
// It reads in batches of up to 128 keys, one after the other, as fast as WarmOptions says, and stops
// when all keys were tried, when ctx ends, when less than a sixteenth of NodeOptions.NearBytes is
// free, or when the shared tier answers no key of a batch. Hence it does not take the place of
// what is near already. What was warmed stays, whatever the error.
//
// The error is that of ctx, [ErrClosed], or the first one of the keys that failed; that a key
// has no value, or is none, is no error, and a full near tier is none either. The list may have any keys:
// repetitions, and those of other caches, cost a read at most. Hits and misses are not counted,
// and a warmed value was read by nobody: it goes before those that were. It may be called at any time, by
// several goroutines.
func (c *Cache[V]) Warm(ctx context.Context, keys []string, opts WarmOptions) (WarmResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.keys.Context, cancel)() // also a read under way ends when the cache is closed
	w := warming[V]{pipeline: &c.pipeline, rate: cmp.Or(opts.KeysPerSecond, warmRate)}
	w.left = keys
	err := w.run(ctx)
	w.result.Left += len(w.left)
	if err == nil && w.result.Failed > 0 {
		err = fmt.Errorf("nearcache: Warm: %d keys failed, the first with: %w", w.result.Failed, w.failed)
	}
	return w.result, err
}

// warming is one call of Warm.
type warming[V any] struct {
	*pipeline[V]

	left   []string // keys, not tried yet
	rate   int      // keys a second; negative: no limit
	due    time.Time
	each   int64 // most bytes that values of a batch took on average; 0: none came near yet
	failed error // of the first key that failed
	result WarmResult
}

// run tries batch after batch. It returns why it stopped, if that is an error by itself.
func (w *warming[V]) run(ctx context.Context) error {
	for {
		if err := w.await(ctx); err != nil {
			return err
		}
		if len(w.left) == 0 || w.node.Tier == nil {
			w.result.Absent += len(w.left)
			w.left = nil
			return nil
		}
		n := w.fits()
		if n == 0 {
			w.result.Full = true
			return nil
		}
		batch := w.left[:n]
		w.left = w.left[n:]
		if down := w.readBatch(ctx, batch); down {
			return w.ended(ctx)
		}
	}
}

// await waits until the next batch may be read.
func (w *warming[V]) await(ctx context.Context) error {
	_ = pause.Sleep(ctx, time.Until(w.due)) // ended says why it was shorter
	return w.ended(ctx)
}

// ended returns why nothing can be read any more.
func (w *warming[V]) ended(ctx context.Context) error {
	err := cmp.Or(w.keys.Check(), ctx.Err())
	if err == nil && coherence.OutOfTime(ctx) {
		err = context.DeadlineExceeded // a read notices before the context does
	}
	return err
}

// fits returns how many keys the next batch has; 0 if there is no room near.
func (w *warming[V]) fits() int {
	n, spare := min(warmBatch, len(w.left)), w.node.Near.Spare()
	if w.rate > 0 {
		n = min(n, max(1, w.rate/warmBatches))
	}
	switch {
	case spare <= 0:
		return 0
	case w.each == 0:
		return min(n, warmFirst)
	default:
		return int(min(int64(n), spare/w.each))
	}
}

// readBatch reads the keys of a batch that are not near, in one round trip, and reports whether the
// shared tier answered none of them.
func (w *warming[V]) readBatch(ctx context.Context, batch []string) (down bool) {
	began := time.Now()
	calls := w.begin(batch)
	if len(calls) == 0 {
		return false
	}
	w.start(ctx, calls, nil, false)
	if w.rate > 0 {
		if w.due.Before(began) {
			w.due = began
		}
		w.due = w.due.Add(time.Duration(len(calls)) * time.Second / time.Duration(w.rate))
	}
	return w.count(ctx, calls)
}

// begin begins a call for each key that neither is near nor is being read.
func (w *warming[V]) begin(batch []string) []*call[V] {
	calls := make([]*call[V], 0, len(batch))
	for _, key := range batch {
		if err := w.keys.Check(key); err != nil {
			if errors.Is(err, ErrClosed) {
				w.result.Left++
			} else {
				w.result.Invalid++
			}
			continue
		}
		hash := w.keys.Space.Hash(key)
		if p := w.keys.Space.Peek(key, hash); p.Hit || p.Use == near.Serve {
			w.result.Near++
			continue
		}
		if f, mine := w.joinOrStart(key, hash, nil, 0, nil); mine {
			calls = append(calls, f)
		} else {
			w.result.Near++
		}
	}
	return calls
}

// count takes in what became of the calls of a batch.
func (w *warming[V]) count(ctx context.Context, calls []*call[V]) (down bool) {
	var came, bytes int64
	unanswered := 0
	for _, f := range calls {
		at, over := w.calls.progress(f, false)
		switch p := w.keys.Space.Peek(f.key, f.hash); {
		case over != nil || at != stateFound && f.readErr != nil:
			unanswered += w.fail(ctx, f, over != nil)
		case at == stateFound && f.err == nil && p.Entry != nil:
			w.result.Warmed++
			came, bytes = came+1, bytes+p.Entry.Cost()
		default:
			w.result.Absent++
		}
	}
	if came > 0 {
		w.each = max(w.each, bytes/came, 1)
	}
	return unanswered == len(calls)
}

// fail takes in a key that was not read, and returns 1 if the shared tier is why. A call that is
// under way ends apart, for those who have joined it: only its context ended.
func (w *warming[V]) fail(ctx context.Context, f *call[V], underWay bool) int {
	if underWay || w.ended(ctx) != nil {
		w.result.Left++
		return 1
	}
	w.result.Failed++
	if w.failed == nil {
		w.failed = f.readErr
	}
	if errors.Is(f.readErr, coherence.ErrPending) {
		return 0
	}
	return 1
}
