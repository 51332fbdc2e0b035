package simulate

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// companionName is the name of the second cache of each process. It has a loader of its own, so
// that it may be refreshed, and it ends with what a process ends in several caches by one call.
const companionName = "companion"

// companions is how many keys the second cache has. They come after those of the first one, and
// every process changes them, as open keys.
const companions = 4

// allKeys is how many keys both caches have.
func (p *Plan) allKeys() int { return p.Keys + companions }

func (p *Plan) companionKey(dice *rand.Rand) uint32 { return uint32(p.Keys) + dice.Uint32N(companions) }

// companionKeys returns the keys of the second cache of which which is true.
func (p *Plan) companionKeys(which func(key uint32) bool) (keys []uint32) {
	for key := p.Keys; key < p.allKeys(); key++ {
		if which(uint32(key)) {
			keys = append(keys, uint32(key))
		}
	}
	return keys
}

// cacheOf returns the cache that has a key.
func (l *life) cacheOf(key uint32) *nearcache.Cache[int64] {
	if key >= uint32(l.fleet.plan.Keys) {
		return l.companion
	}
	return l.cache
}

// companionOptions are those of the first cache, and the loader.
func (l *life) companionOptions() nearcache.Options[int64] {
	o := l.cacheOptions()
	o.Loader = func(ctx context.Context, name string, _ *int64) (nearcache.Loaded[int64], error) {
		return l.load(ctx, l.fleet.keyNamed(name))
	}
	return o
}

// keyNamed returns the key of the second cache that has a name.
func (f *fleet) keyNamed(name string) uint32 {
	named := f.plan.companionKeys(func(key uint32) bool { return keyName(key) == name })
	return named[0]
}

// managing are the calls of the worker that changes what both caches have.
var managing = []weighted{{Refresh, 30}, {Together, 20}, {TogetherTags, 8}, {TogetherAll, 4}, {CloseCaches, 4}}

func (p *Plan) drawManaged(dice *rand.Rand, op *Op) {
	op.Call = drawCall(dice, managing)
	switch op.Call {
	case Refresh:
		op.Keys = []uint32{p.companionKey(dice)}
		if more := p.companionKey(dice); more != op.Keys[0] && dice.IntN(3) == 0 {
			op.Keys = append(op.Keys, more)
		}
	case Together, TogetherTags, TogetherAll:
		op.Keys = []uint32{p.openKey(dice), p.companionKey(dice)}
	case CloseCaches:
		op.Within = time.Duration(dice.IntN(2)*dice.IntN(1000)) * time.Millisecond
	}
}

// visiting are the calls of the worker that reads the second cache, and warms and touches both.
var visiting = []weighted{{Fetch, 50}, {Lookup, 10}, {LookupAge, 5}, {LookupNow, 5}, {LookupWith, 5}, {Touch, 40}, {Warm, 5}}

func (p *Plan) drawVisit(dice *rand.Rand, op *Op) {
	op.Call, op.Keys = drawCall(dice, visiting), []uint32{p.companionKey(dice)}
	switch op.Call {
	case LookupWith:
		op.Peer = dice.IntN(p.Nodes)
	case Touch:
		if dice.IntN(2) == 0 {
			op.Keys = []uint32{p.readKey(dice)}
		}
		op.TTL = time.Duration((0.5 + 3*dice.Float64()) * float64(p.cacheOptions().TTL))
	case Warm:
		p.drawWarm(dice, op)
	}
}

// touch gives a value a later end. That changes nothing that a reader may be told: what it
// brings back shows in reads.
func (l *life) touch(ctx context.Context, op *Op) {
	if l.fleet.plan.SourceLag > 0 {
		return // it is not supported
	}
	start, key := now(), op.Keys[0]
	if l.fleet.plan.Spoiled == Touch {
		l.writeBack(ctx, key)
		return
	}
	l.fleet.oracle.erred(l, op.Call, start, l.cacheOf(key).Touch(ctx, keyName(key), op.TTL))
}

// writeBack is what a Touch must not be: it stores what it has read.
func (l *life) writeBack(ctx context.Context, key uint32) {
	value, err := l.cache.Read(ctx, keyName(key), nearcache.ReadOptions{}, nil)
	if err == nil && sleep(ctx, 5*time.Millisecond) == nil {
		_ = l.cache.SetEntry(ctx, keyName(key), nearcache.Entry[int64]{Value: value.Value, Tags: tagsOf(key)})
	}
}

// together ends values of both caches by one call. The error has that of each key that the call
// was to end.
func (l *life) together(ctx context.Context, op *Op) error {
	one, other := op.Keys[0], op.Keys[1]
	invs := []nearcache.Invalidation{{Cache: cacheName}, {Cache: companionName}}
	switch op.Call {
	case TogetherTags:
		tags := []string{groupTag(other % groups)}
		invs[0].Tags, invs[1].Tags = tags, tags
	case TogetherAll:
		invs[0].Keys, invs[1].All = []string{keyName(one)}, true
	default:
		invs[0].Keys, invs[1].Keys = []string{keyName(one)}, []string{keyName(other)}
	}
	if l.fleet.plan.Spoiled == Together {
		invs = invs[:1]
	}
	errs := l.library.Invalidate(ctx, invs...)
	var failed nearcache.KeysError
	for _, key := range l.fleet.plan.touched(op) {
		of := 0
		if key >= uint32(l.fleet.plan.Keys) {
			of = 1
		}
		if of < len(errs) && errs[of] != nil {
			failed = join(failed, errs[of], []string{keyName(key)})
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return failed
}

// togetherTouched are the keys whose truth a call for both caches changes.
func (p *Plan) togetherTouched(op *Op) []uint32 {
	one, other := op.Keys[0], op.Keys[1]
	switch op.Call {
	case TogetherTags:
		inGroup := func(key uint32) bool { return key%2 == 0 && key%groups == other%groups }
		var keys []uint32
		for key := range p.openKeys() {
			if inGroup(key) {
				keys = append(keys, key)
			}
		}
		return slices.Concat(keys, p.companionKeys(inGroup))
	case TogetherAll:
		return append([]uint32{one}, p.companionKeys(func(uint32) bool { return true })...)
	default:
		return []uint32{one, other}
	}
}

// refresh has values loaded anew.
func (l *life) refresh(ctx context.Context, names []string) error {
	if l.fleet.plan.Spoiled == Refresh {
		return nil
	}
	return l.companion.Refresh(ctx, names...)
}

// renew closes the caches of a process while its other workers go on, and opens them anew. What
// the new ones answer is that of another life: nothing that the old ones have answered binds
// them.
func (l *life) renew(op *Op) {
	f := l.fleet
	ctx, cancel := context.WithTimeout(f.context, op.Within)
	if op.Within == 0 {
		cancel() // what is pending ends with the caches
	}
	defer cancel()
	start := now()
	l.closing.Store(true)
	if f.plan.Spoiled != CloseCaches {
		_ = cmp.Or(l.cache.Close(ctx), l.companion.Close(ctx))
	}
	f.oracle.closed(l, start)
	f.oracle.swept(start) // loads under way ended
	l.over.Store(true)
	f.succeed(l)
}

// succeed opens the caches of a life whose caches were closed anew, unless the process has ended
// meanwhile.
func (f *fleet) succeed(l *life) {
	f.mu.Lock()
	here := f.processes[l.node].life == l
	f.mu.Unlock()
	if !here {
		return
	}
	heir := f.newLife(l.node)
	heir.name, heir.frugal = l.name, l.frugal
	heir.shared, heir.library, heir.bus, heir.clients, heir.memcached = l.shared, l.library, l.bus, l.clients, l.memcached
	start := now()
	err := heir.openCaches()
	if f.plan.Quiet && err == nil {
		heir.before = heir.counters()
	}
	f.mu.Lock()
	here = f.processes[l.node].life == l
	if here && err == nil {
		f.processes[l.node].life = heir
	}
	f.mu.Unlock()
	switch {
	case !here:
		heir.over.Store(true) // it ended with the process
	case err != nil:
		heir.over.Store(true)
		f.oracle.notOpened(heir, start, err)
	}
}
