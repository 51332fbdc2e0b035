package simulate

import (
	"context"
	"errors"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

var errSource = errors.New("simulate: the source failed")

// callTimeout is what a caller has for one call.
const callTimeout = 20 * time.Second

// answered is what a read said of one key.
type answered struct {
	key    uint32
	value  int64
	stale  bool
	silent bool // it says nothing of the truth: there was no loader and no value
	err    error
}

// do carries out one operation and notes what came of it.
func (l *life) do(op *Op) {
	if op.Call == Fetch {
		for _, key := range op.Keys {
			l.fetch(key)
		}
		return
	}
	ctx, cancel := context.WithTimeout(l.fleet.context, callTimeout)
	defer cancel()
	switch op.Call {
	case Get, Lookup, LookupAge, LookupNow, LookupWith:
		l.lookup(ctx, op)
	case FetchMany, GetMany:
		l.readMany(ctx, op)
	case Barrier:
		l.barrier(ctx)
	case Touch:
		l.touch(ctx, op)
	case Warm:
		l.warm(ctx, op)
	case CloseCaches:
		l.renew(op)
	default:
		l.write(ctx, op)
	}
}

func now() history.Moment { return time.Now().UnixNano() }

func (l *life) noteAnswer(call Call, start history.Moment, a answered) {
	r := history.Record{Kind: history.Read, Key: a.key, Stale: a.stale, Start: start, End: now()}
	l.fleet.oracle.erred(l, call, start, a.err)
	if l.fleet.resting.Load() {
		r.Kind = history.AtRest
	}
	switch {
	case a.silent:
		return
	case errors.Is(a.err, nearcache.ErrNotFound):
		r.Absent = true
	case a.err != nil:
		r.Kind = history.Failed
		l.fleet.oracle.failedRead(l, call, &r, a.err)
	default:
		version, err := versionOf(a.key, a.value)
		if err != nil || version > l.fleet.source.load(a.key) {
			l.fleet.oracle.foreign(l, call, &r, a.value)
		}
		r.Version = version
	}
	if call == Fetch {
		l.fleet.oracle.fetched(l, &r)
	}
	l.note(r)
}

// fetch reads one key. Only Read says whether an answer is one that fail-safe kept.
func (l *life) fetch(key uint32) {
	ctx, cancel := context.WithTimeout(l.fleet.context, callTimeout)
	defer cancel()
	start, a := now(), answered{key: key}
	if l.fleet.plan.Features {
		var found nearcache.Result[int64]
		found, a.err = l.cacheOf(key).Read(ctx, keyName(key), nearcache.ReadOptions{}, l.loader(key))
		a.value, a.stale = found.Value, found.Stale
	} else {
		a.value, a.err = l.cacheOf(key).FetchEntry(ctx, keyName(key), l.loader(key))
	}
	l.noteAnswer(Fetch, start, a)
}

func (l *life) loader(key uint32) nearcache.Loader[int64] {
	return func(ctx context.Context, _ string, _ *int64) (nearcache.Loaded[int64], error) {
		return l.load(ctx, key)
	}
}

// lookup makes the reads of one key that are not Fetch.
func (l *life) lookup(ctx context.Context, op *Op) {
	key, r := op.Keys[0], nearcache.ReadOptions{}
	start := now()
	var load nearcache.Loader[int64]
	if op.Call != Get {
		load = l.loader(key)
	}
	var least int64
	switch op.Call {
	case LookupAge:
		r.MaxAge = l.fleet.plan.JournalInterval / 4
	case LookupNow:
		r.FromShared = true
	case LookupWith:
		r.After, least = l.fleet.token(op.Peer, key)
		start = now()
	}
	a, err := l.cacheOf(key).Read(ctx, keyName(key), r, load)
	silent := op.Call == Get && (err != nil || a.Stale)
	if errors.Is(err, nearcache.ErrUnproven) {
		l.fleet.oracle.erred(l, op.Call, start, err)
		return // it says that it does not know
	}
	l.noteAnswer(op.Call, start, answered{key: key, value: a.Value, stale: a.Stale, err: err, silent: silent})
	if err == nil && !a.Stale {
		l.fleet.oracle.answer(l, op, start, a, least)
	}
}

func (l *life) readMany(ctx context.Context, op *Op) {
	names := make([]string, len(op.Keys))
	byName := make(map[string]uint32, len(op.Keys))
	for i, key := range op.Keys {
		names[i] = keyName(key)
		byName[names[i]] = key
	}
	start, stale := now(), l.cache.Stats().Reads.Stale
	var values map[string]int64
	var err error
	if op.Call == GetMany {
		values, err = l.cache.GetMany(ctx, names)
	} else {
		values, err = l.cache.FetchEntryMany(ctx, names, func(ctx context.Context, missing []string) (map[string]nearcache.Loaded[int64], error) {
			return l.loadMany(ctx, missing, byName)
		})
	}
	flagged := l.cache.Stats().Reads.Stale != stale // one of these, or another's
	for _, name := range names {
		value, ok := values[name]
		a := answered{key: byName[name], value: value, stale: flagged, err: errorOf(err, name)}
		switch {
		case ok:
		case op.Call == GetMany:
			a.silent = true
		case a.err == nil:
			a.err = nearcache.ErrNotFound
		}
		l.noteAnswer(op.Call, start, a)
	}
}

func (l *life) loadMany(ctx context.Context, missing []string, byName map[string]uint32) (map[string]nearcache.Loaded[int64], error) {
	loaded := make(map[string]nearcache.Loaded[int64], len(missing))
	keys := make([]uint32, len(missing))
	for i, name := range missing {
		keys[i] = byName[name]
	}
	read := l.fleet.source.read(l.fleet.behind(l.name, keys[0]), keys...)
	if err := sleep(ctx, l.fleet.loadTime(l.name, uint32(len(missing)))); err != nil {
		return nil, err
	}
	l.noteLoads(read)
	for _, name := range missing {
		entry, err := read.entry(byName[name])
		switch {
		case err == nil:
			loaded[name] = entry
		case !errors.Is(err, nearcache.ErrNotFound):
			return nil, err
		}
	}
	return loaded, nil
}

// errorOf returns what became of one key of several.
func errorOf(err error, name string) error {
	if several, ok := errors.AsType[nearcache.KeysError](err); ok {
		return several[name]
	}
	return err
}

// write changes the truth about some keys and tells the cache.
func (l *life) write(ctx context.Context, op *Op) {
	start := now()
	keys := l.fleet.plan.touched(op)
	versions := make(map[uint32]int64, len(keys))
	for _, key := range keys {
		versions[key] = l.fleet.source.commit(key)
	}
	err := l.tell(ctx, op, versions)
	end := now()
	l.fleet.oracle.erred(l, op.Call, start, err)
	switch op.Call {
	case Tag, Clear, TogetherTags, TogetherAll:
		l.fleet.oracle.swept(start)
	}
	for _, key := range keys {
		r := history.Record{Kind: history.Acked, Key: key, Version: versions[key], Start: start, End: end}
		if unknown(errorOf(err, keyName(key))) != nil {
			if op.Call == Refresh {
				continue // readers may get the old value for ever
			}
			r.Kind = history.GaveUp
		}
		l.note(r)
	}
}

// touched are the keys whose truth an operation changes. Those with one writer are
// changed by that one only.
func (p *Plan) touched(op *Op) (keys []uint32) {
	switch op.Call {
	case Clear:
		for key := range p.openKeys() {
			keys = append(keys, key)
		}
	case Tag:
		for key := range p.openKeys() {
			if key%2 == 0 && key%groups == op.Keys[0]%groups {
				keys = append(keys, key)
			}
		}
	case Together, TogetherTags, TogetherAll:
		keys = p.togetherTouched(op)
	default:
		keys = op.Keys
	}
	return keys
}

func (l *life) tell(ctx context.Context, op *Op, versions map[uint32]int64) error {
	names := make([]string, 0, len(versions))
	for _, key := range op.Keys {
		names = append(names, keyName(key))
	}
	switch op.Call {
	case Invalidate:
		return l.cache.Invalidate(ctx, names...)
	case Delete:
		return l.cache.Delete(ctx, names...)
	case Tag:
		return l.cache.InvalidateTags(ctx, groupTag(op.Keys[0]%groups))
	case Clear:
		return l.cache.Clear(ctx)
	case Refresh:
		return l.refresh(ctx, names)
	case Together, TogetherTags, TogetherAll:
		return l.together(ctx, op)
	}
	return l.set(ctx, versions)
}

// set stores values, and deletes those keys of which the truth is that there is none.
func (l *life) set(ctx context.Context, versions map[uint32]int64) error {
	entries := make(map[string]nearcache.Entry[int64], len(versions))
	var gone []string
	for key, version := range versions {
		if absentAt(key, version) {
			gone = append(gone, keyName(key))
		} else {
			entries[keyName(key)] = entryOf(key, version)
		}
	}
	var failed nearcache.KeysError
	if len(gone) > 0 {
		failed = join(failed, l.cache.Delete(ctx, gone...), gone)
	}
	if len(entries) == 1 && len(versions) == 1 {
		for name, entry := range entries {
			return l.cache.SetEntry(ctx, name, entry)
		}
	}
	if len(entries) > 0 {
		names := make([]string, 0, len(entries))
		for name := range entries {
			names = append(names, name)
		}
		failed = join(failed, l.cache.SetEntryMany(ctx, entries), names)
	}
	if len(failed) == 0 {
		return nil
	}
	return failed
}

// join adds the errors of some keys.
func join(to nearcache.KeysError, err error, names []string) nearcache.KeysError {
	for _, name := range names {
		if one := errorOf(err, name); one != nil {
			if to == nil {
				to = make(nearcache.KeysError)
			}
			to[name] = one
		}
	}
	return to
}

// unknown returns the error of a write unless the shared tier has it all the same: then
// the journal tells the others.
func unknown(err error) error {
	if errors.Is(err, nearcache.ErrNotBroadcast) && !errors.Is(err, nearcache.ErrOutcomeUnknown) {
		return nil
	}
	return err
}

// barrier notes what has to be seen everywhere once it has returned.
func (l *life) barrier(ctx context.Context) {
	start := now()
	answered, err := l.library.Barrier(ctx, nearcache.BarrierOptions{})
	l.fleet.oracle.barrier(l, start, answered, err)
}
