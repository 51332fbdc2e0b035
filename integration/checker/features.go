package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// With features on, most values end several times in a run, and whoever ends
// one may do so early, late or in the background. Not every way to read can be
// used for every key: an answer that is kept for when there is no other is
// outside of the promises, and only Read says that it is one.
const (
	featureTTL     = 2 * time.Second
	featureAhead   = 500 * time.Millisecond
	featureAbsent  = 3 * time.Second
	featureJitter  = 0.2
	failingLoads   = 3 // one in so many, of keys that may fail
	batchOfReads   = 8 // keys of one call
	batchOfWrites  = 4
	batchedReads   = 16 // one call in so many
	batchedWrites  = 8
	absentVersions = 4 // one in so many says that there is no value
)

// featureOptions are those of the cache, with everything on that the fleet can
// have on. A quarter of the keys have a long lifetime all the same, so that what
// is wrong with them is not healed by running out.
func featureOptions() nearcache.Options[int64] {
	return nearcache.Options[int64]{
		TTL: featureTTL, Stale: nearcache.Stale{For: timeToLive}, RefreshAhead: featureAhead, NotFoundTTL: featureAbsent, TTLJitter: featureJitter,
	}
}

func lifeOf(key uint32) time.Duration {
	if digit := key % 10; digit == 0 || digit == 1 || digit == 3 {
		return timeToLive
	}
	return 0 // as the options say
}

// mayFail reports whether the loader of key fails at times. Such keys are read
// by Read, and by GetMany when nobody was given an old value meanwhile.
func mayFail(key uint32) bool { return key%5 == 3 }

// absentAt reports whether the truth about key is, as of this version, that
// there is no value. Keys with tags always have one: a value that is not there
// has no tags.
func absentAt(key uint32, version int64) bool {
	return version%absentVersions == absentVersions-1 && tagsOf(keyName(key)) == nil
}

var errSource = errors.New("checker: the source failed")

// answered is what a read returned.
type answered struct {
	key           uint32
	version       int64
	absent, stale bool
	err           error
}

// truth is load with features on.
func (n *node) truth(ctx context.Context, key uint32, as history.Kind) (int64, error) {
	if as == history.Read && mayFail(key) && rand.IntN(failingLoads) == 0 {
		return 0, errSource
	}
	version, err := n.load(ctx, key)
	if err == nil && absentAt(key, version) {
		err = nearcache.ErrNotFound
	}
	return version, err
}

// readFeatured makes one call of one of the ways to read. The keys of a batch are
// as likely as each other, so that seldom read ones are looked at, too.
func (n *node) readFeatured(ctx context.Context, o *ours, dice *rand.Rand, key func() uint32) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start, k := now(), key()
	var answers []answered
	anyKey := func() uint32 { return uint32(dice.IntN(n.settings.Keys)) }
	switch way := dice.IntN(batchedReads); {
	case way == 0:
		keys := pick(anyKey, batchOfReads, func(k uint32) bool { return !mayFail(k) && tagsOf(keyName(k)) == nil })
		start = now()
		answers = o.fetchMany(ctx, keys, n)
	case way == 1:
		keys := pick(anyKey, batchOfReads, mayFail)
		start = now()
		answers = o.getMany(ctx, keys)
	case way%2 == 0 && !mayFail(k):
		answers = []answered{o.fetchFeatured(ctx, k, n)}
	default:
		answers = []answered{o.lookup(ctx, k, n, history.Read)}
	}
	n.noteAnswers(answers, start, history.Read)
}

// pick returns several keys of a kind, if that many are found soon.
func pick(key func() uint32, most int, kind func(uint32) bool) (keys []uint32) {
	for range 10 * most {
		if k := key(); kind(k) && len(keys) < most && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (n *node) noteAnswers(answers []answered, start history.Moment, as history.Kind) {
	end := now()
	for _, a := range answers {
		r := record{Kind: as, Key: a.key, Version: a.version, Absent: a.absent, Stale: a.stale, Start: start, End: end}
		if a.err != nil {
			r.Kind = history.Failed
		}
		n.journal.add(r)
	}
}

// answer makes an answer of what a read returned. That there is no value is
// one, too.
func answer(key uint32, version int64, stale bool, err error) answered {
	a := answered{key: key, version: version, stale: stale, err: err}
	if errors.Is(err, nearcache.ErrNotFound) {
		a.version, a.absent, a.err = 0, true, nil
	}
	return a
}

func (o *ours) lookup(ctx context.Context, key uint32, n *node, as history.Kind) answered {
	a, err := o.cache.Read(ctx, keyName(key), nearcache.ReadOptions{}, n.entryOf(key, as))
	return answer(key, a.Value, a.Stale, err)
}

func (o *ours) fetchFeatured(ctx context.Context, key uint32, n *node) answered {
	version, err := o.cache.FetchEntry(ctx, keyName(key), n.entryOf(key, history.Read))
	return answer(key, version, false, err)
}

func (n *node) entryOf(key uint32, as history.Kind) nearcache.Loader[int64] {
	return func(ctx context.Context, name string, _ *int64) (nearcache.Loaded[int64], error) {
		version, err := n.truth(ctx, key, as)
		return nearcache.Loaded[int64]{Value: version, Tags: tagsOf(name), TTL: lifeOf(key)}, err
	}
}

func (o *ours) fetchMany(ctx context.Context, keys []uint32, n *node) []answered {
	byName := make(map[string]uint32, len(keys))
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = keyName(key)
		byName[names[i]] = key
	}
	values, err := o.cache.FetchMany(ctx, names, func(ctx context.Context, missing []string) (map[string]int64, error) {
		loaded := make(map[string]int64, len(missing))
		for _, name := range missing {
			version, err := n.truth(ctx, byName[name], history.Read)
			switch {
			case err == nil:
				loaded[name] = version
			case !errors.Is(err, nearcache.ErrNotFound):
				return nil, err
			}
		}
		return loaded, nil
	})
	answers := make([]answered, len(keys))
	for i, name := range names {
		version, ok := values[name]
		failed := errorOf(err, name)
		answers[i] = answered{key: keys[i], version: version, absent: !ok && failed == nil, err: failed}
	}
	return answers
}

// getMany leaves out keys that the cache does not have: without a loader that
// says nothing about the truth.
func (o *ours) getMany(ctx context.Context, keys []uint32) (answers []answered) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = keyName(key)
	}
	before := o.cache.Stats().Reads.Stale
	values, err := o.cache.GetMany(ctx, names)
	stale := o.cache.Stats().Reads.Stale != before // one of these, or another's
	for i, name := range names {
		version, ok := values[name]
		if failed := errorOf(err, name); ok || failed != nil {
			answers = append(answers, answered{key: keys[i], version: version, stale: stale, err: failed})
		}
	}
	return answers
}

// errorOf returns what became of one key of several.
func errorOf(err error, name string) error {
	if several, ok := errors.AsType[nearcache.KeysError](err); ok {
		return several[name]
	}
	return err
}

// writeFeatured changes the truth about one key or several and tells the cache.
func (n *node) writeFeatured(ctx context.Context, o *ours, dice *rand.Rand, writer int) {
	key, op := n.choose(dice, writer)
	keys := []uint32{key}
	if op == set && dice.IntN(batchedWrites) == 0 {
		keys = pick(func() uint32 {
			key, op := n.choose(dice, writer)
			if op != set {
				return keys[0]
			}
			return key
		}, batchOfWrites, func(uint32) bool { return true })
	}
	start := now()
	values, gone := make(map[uint32]int64), make(map[uint32]int64)
	for _, key := range keys {
		if version := n.source.commit(key); absentAt(key, version) {
			gone[key] = version
		} else {
			values[key] = version
		}
	}
	n.death.at("truth")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if len(gone) > 0 {
		n.noteWrites(gone, start, o.deleteMany(ctx, gone))
	}
	switch {
	case len(values) == 0:
	case op == set:
		n.noteWrites(values, start, o.setMany(ctx, values))
	default:
		n.noteWrites(values, start, o.write(ctx, op, keyName(key), values[key]))
	}
}

func (n *node) noteWrites(versions map[uint32]int64, start history.Moment, err error) {
	end := now()
	for key, version := range versions {
		r := record{Kind: history.Acked, Key: key, Version: version, Start: start, End: end}
		if unknown(errorOf(err, keyName(key))) != nil {
			r.Kind = history.GaveUp
		}
		n.journal.add(r)
	}
}

func (o *ours) setMany(ctx context.Context, versions map[uint32]int64) error {
	entries := make(map[string]nearcache.Entry[int64], len(versions))
	for key, version := range versions {
		name := keyName(key)
		entries[name] = nearcache.Entry[int64]{Value: version, Tags: tagsOf(name), TTL: lifeOf(key)}
	}
	if len(entries) == 1 {
		for name, entry := range entries {
			return o.cache.SetEntry(ctx, name, entry)
		}
	}
	return o.cache.SetEntryMany(ctx, entries)
}

func (o *ours) deleteMany(ctx context.Context, versions map[uint32]int64) error {
	names := make([]string, 0, len(versions))
	for key := range versions {
		names = append(names, keyName(key))
	}
	return o.cache.Delete(ctx, names...)
}
