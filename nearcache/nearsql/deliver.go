package nearsql

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// fates are what became of rows.
type fates struct {
	delivered, failed []int64
	unknown, invalid  []row
	closed            bool // a cache is closed
}

// group is rows of one cache for which one call is made.
type group struct {
	cache, op string
	rows      map[string][]row // by name
}

// result is what a call made of the rows of a group.
type result struct {
	delivered, failed, invalid []row
	err                        error // why rows failed
}

// deliver hands rows to their caches, all caches at once, in half of the time for which the
// rows are claimed.
func (r *Relay) deliver(ctx context.Context, rows []row) (f fates) {
	groups := r.sort(rows, &f)
	ctx, cancel := context.WithTimeout(ctx, r.opts.ClaimFor/2)
	defer cancel()
	results := make([]result, len(groups))
	var calls sync.WaitGroup
	for i, g := range groups {
		calls.Go(func() { results[i] = r.targets[g.cache].call(ctx, g) })
	}
	calls.Wait()
	failed := make(map[string]error)
	for i, got := range results {
		f.delivered = append(f.delivered, ids(got.delivered)...)
		f.failed = append(f.failed, ids(got.failed)...)
		f.invalid = append(f.invalid, got.invalid...)
		if failed[groups[i].cache] == nil {
			failed[groups[i].cache] = got.err
		}
	}
	for name, err := range failed {
		f.closed = f.closed || errors.Is(err, nearcache.ErrClosed)
		r.noteCache(name, err)
	}
	return f
}

// sort puts rows that one call can take together, and the others into f.
func (r *Relay) sort(rows []row, f *fates) []group {
	groups := make(map[[2]string]group)
	for _, found := range rows {
		op, name, encoded := strings.TrimSuffix(found.op, suffix64), found.name, strings.HasSuffix(found.op, suffix64)
		if r.targets[found.cache] == nil || op != opKey && op != opTag && found.op != opClear {
			f.unknown = append(f.unknown, found)
			continue
		}
		if encoded {
			data, err := base64.StdEncoding.DecodeString(name)
			if err != nil {
				f.invalid = append(f.invalid, found)
				continue
			}
			name = string(data)
		}
		at := [2]string{found.cache, op}
		if groups[at].rows == nil {
			groups[at] = group{cache: found.cache, op: op, rows: make(map[string][]row)}
		}
		groups[at].rows[name] = append(groups[at].rows[name], found)
	}
	return slices.Collect(maps.Values(groups))
}

// call makes the call of a group.
func (t *target) call(ctx context.Context, g group) (res result) {
	names := slices.Sorted(maps.Keys(g.rows))
	var err error
	switch g.op {
	case opKey:
		err = t.Invalidate(ctx, names...)
	case opTag:
		err = t.InvalidateTags(ctx, names...)
		if errors.Is(err, nearcache.ErrInvalidTag) && len(names) > 1 {
			return t.callEach(ctx, g) // which of them it is, the error does not tell
		}
	default:
		err = t.Clear(ctx)
	}
	for name, rows := range g.rows {
		res.take(rows, errorOf(err, name))
	}
	return res
}

// callEach makes a call for each name of a group.
func (t *target) callEach(ctx context.Context, g group) (all result) {
	for name, rows := range g.rows {
		one := t.call(ctx, group{cache: g.cache, op: g.op, rows: map[string][]row{name: rows}})
		all.delivered = append(all.delivered, one.delivered...)
		all.failed = append(all.failed, one.failed...)
		all.invalid = append(all.invalid, one.invalid...)
		all.err = errors.Join(all.err, one.err)
	}
	return all
}

// errorOf returns what a call failed with for one of its names.
func errorOf(err error, name string) error {
	if keys, ok := errors.AsType[nearcache.KeysError](err); ok {
		return keys[name]
	}
	return err
}

// take enters what became of rows.
func (res *result) take(rows []row, err error) {
	switch {
	case err == nil:
		res.delivered = append(res.delivered, rows...)
	case errors.Is(err, nearcache.ErrInvalidKey), errors.Is(err, nearcache.ErrInvalidTag):
		res.invalid = append(res.invalid, rows...)
	default:
		res.failed, res.err = append(res.failed, rows...), err
	}
}

// noteCache takes in how the calls of a cache went.
func (r *Relay) noteCache(name string, err error) {
	t := r.targets[name]
	if err == nil {
		t.pause, t.after = 0, time.Time{}
		if took, over := t.outage.Succeed(); over {
			r.log.Info("nearsql: the cache can be invalidated again", "cache", name, "after", took)
		}
		return
	}
	r.failures.Add(1)
	t.pause = longer(t.pause)
	t.after = time.Now().Add(t.pause)
	if t.outage.Fail(true) {
		r.log.Error("nearsql: a cache cannot be invalidated; trying again", "cache", name, "error", err)
	}
}
