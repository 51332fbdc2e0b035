package nearcache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// leaseWorkers is how many leases of one FetchMany are asked for at a time.
const leaseWorkers = 16

// manyLoader loads several keys at once.
type manyLoader[V any] func(ctx context.Context, missing []string) (map[string]V, error)

// FetchMany is Fetch for several keys: one round trip to the shared tier for
// those that are not near, and one call of load for those that nobody has, or
// one each for every 1,024 keys. It returns the values found, by key. A key that
// load leaves out has no value; that is no error. What load returns for keys
// that it was not asked for is ignored and counted. Keys may repeat.
//
// When some keys fail, the others are returned all the same and the error is a
// [KeysError]. With an invalid key among them, nothing is read.
func (c *Cache[V]) FetchMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error)) (map[string]V, error) {
	if load == nil {
		return nil, errors.New("nearcache: FetchMany: the loader is nil")
	}
	return c.readMany(ctx, keys, c.onlyAsked(load))
}

// onlyAsked is load without what it returns for other keys, which is counted.
func (c *Cache[V]) onlyAsked(load manyLoader[V]) manyLoader[V] {
	return func(ctx context.Context, missing []string) (map[string]V, error) {
		values, err := load(ctx, slices.Clone(missing)) // the loader may do with its keys what it likes
		if err != nil {
			return nil, err
		}
		asked := 0
		for _, key := range missing {
			if _, ok := values[key]; ok {
				asked++
			}
		}
		c.unasked.Add(uint64(len(values) - asked))
		return values, nil
	}
}

// readMany reads keys, and loads those that nobody has if there is a loader.
func (c *Cache[V]) readMany(ctx context.Context, keys []string, load manyLoader[V]) (map[string]V, error) {
	if err := c.checkMany(keys); err != nil {
		return nil, err
	}
	values, failed := make(map[string]V, len(keys)), KeysError(nil)
	for part := range slices.Chunk(distinct(keys), maxPart) {
		c.readPart(ctx, part, load, values, &failed)
	}
	return values, failed.err()
}

// readPart is readMany for as many keys as are read at once.
func (c *Cache[V]) readPart(ctx context.Context, keys []string, load manyLoader[V], values map[string]V, failed *KeysError) {
	if err := ctx.Err(); err != nil {
		for _, key := range keys {
			failed.put(key, err)
		}
		return
	}
	waits := make(map[string]*flight[V])
	var mine []*flight[V]
	for _, key := range keys {
		f, run := c.boardOrHit(ctx, key, load, values, failed)
		if f != nil {
			waits[key] = f
		}
		if run {
			mine = append(mine, f)
		}
	}
	switch flown := (detached{c.node.ctx, ctx}); {
	case len(mine) == 0:
	case load == nil:
		go c.lookAll(flown, mine) // ends with the read; what there is to load goes on by itself
	default:
		go c.runMany(flown, mine, load) // ends with its loads, as a single flight does
	}
	began := time.Now()
	for key, f := range waits {
		softly := c.opts.SoftTimeout // of all keys together
		if softly > 0 {
			softly = max(1, softly-time.Since(began))
		}
		a := c.waitFor(ctx, f, load != nil, c.opts.FailSafe > 0, softly)
		enter(values, failed, key, a.value, a.err)
	}
}

// enter puts what became of a key into its place.
func enter[V any](values map[string]V, failed *KeysError, key string, v V, err error) {
	switch {
	case err == nil:
		values[key] = v
	case !errors.Is(err, ErrNotFound):
		failed.put(key, err)
	}
}

// boardOrHit puts the value of key into values if it is near, and returns its
// flight otherwise.
func (c *Cache[V]) boardOrHit(ctx context.Context, key string, load manyLoader[V], values map[string]V, failed *KeysError) (f *flight[V], run bool) {
	hash := c.space.Hash(key)
	var one loader[V]
	if load != nil {
		one = single(load)
	}
	for {
		if e := c.hit(key, hash); e != nil {
			v, err := c.give(e.value)
			enter(values, failed, key, v, err)
			return nil, false
		}
		if a, ok := c.lateAnswer(ctx, key, hash, one); ok {
			enter(values, failed, key, a.value, a.err)
			return nil, false
		}
		if f, run = c.board(key, hash, one); f != nil {
			c.missed(hash)
			return f, run
		}
	}
}

// lookAll reads the shared tier for flights that were begun without a loader.
// Those that somebody has given one meanwhile go on without this one.
func (c *Cache[V]) lookAll(ctx context.Context, fs []*flight[V]) {
	var err error = &PanicError{} // stands if user code ends this goroutine
	gone := make(map[*flight[V]]bool)
	defer func() {
		for _, f := range fs {
			if gone[f] {
				continue
			}
			if !f.landed {
				f.err = err
			}
			c.land(f)
		}
	}()
	err = guard(func() error {
		rest, suspects := c.setSuspectsApart(fs)
		missing, found, unread, err := c.lookMany(ctx, rest)
		for _, p := range append(suspects, unread...) {
			c.goOn(ctx, p.f, look{err: p.f.lookErr}, gone)
		}
		for _, f := range missing {
			l := look{err: err}
			if record := found[f.key]; record != nil {
				l.found = *record
			}
			c.goOn(ctx, f, l, gone)
		}
		return nil
	})
}

// goOn sends a flight whose read is over on to its loader, if it has got one.
func (c *Cache[V]) goOn(ctx context.Context, f *flight[V], l look, gone map[*flight[V]]bool) {
	if f.load == nil { // it has not, and nobody can add one any more
		return
	}
	gone[f] = true
	go c.runLoad(ctx, f, f.load, l) // ends with its load, as a single flight does
}

// single is load for one key.
func single[V any](load manyLoader[V]) loader[V] {
	return func(ctx context.Context, key string) (Entry[V], error) {
		values, err := load(ctx, []string{key})
		if err != nil {
			return Entry[V]{}, err
		}
		v, ok := values[key]
		if !ok {
			return Entry[V]{}, ErrNotFound
		}
		return Entry[V]{Value: v}, nil
	}
}

// runMany is run for several flights at once.
func (c *Cache[V]) runMany(ctx context.Context, fs []*flight[V], load manyLoader[V]) {
	var err error = &PanicError{} // stands if user code ends this goroutine
	defer func() {
		for _, f := range fs {
			if !f.landed {
				f.err = err
			}
			c.land(f)
		}
	}()
	err = guard(func() error {
		c.flyMany(ctx, fs, load)
		return nil
	})
}

// permit is what a flight of a batch may do with the value it loads.
type permit[V any] struct {
	f    *flight[V]
	hold        // of its lease, if its token is not 0
	stop func() // ends the renewal of the lease

	floor footing // of a load without a lease
}

func (c *Cache[V]) flyMany(ctx context.Context, fs []*flight[V], load manyLoader[V]) {
	fs, alone := c.setSuspectsApart(fs)
	missing, found, unread, err := c.lookMany(ctx, fs)
	alone = append(alone, unread...)
	c.degraded.Add(uint64(len(alone)))
	life := c.opts.NearTTL
	switch {
	case err != nil:
		c.degraded.Add(uint64(len(missing)))
		life = c.node.opts.MaxStaleness
		fallthrough
	case c.node.tier == nil:
		for _, f := range missing {
			alone = append(alone, permit[V]{f: f})
		}
		c.loadMany(ctx, alone, load, life)
		return
	}
	granted, others := c.acquireMany(ctx, missing, found)
	var wg sync.WaitGroup
	for _, f := range others {
		// Somebody else loads it, or a lease cannot be had: each such key
		// goes the way of a single one.
		wg.Go(func() {
			f.err = guard(func() error { return c.loadShared(ctx, f, single(load), found[f.key]) })
			c.land(f)
		})
	}
	c.loadMany(ctx, append(granted, alone...), load, c.node.opts.MaxStaleness)
	wg.Wait()
}

// setSuspectsApart returns the flights that may read the shared tier, and
// permits for the others.
func (c *Cache[V]) setSuspectsApart(fs []*flight[V]) (rest []*flight[V], alone []permit[V]) {
	for _, f := range fs {
		if c.node.tier != nil && c.debts.suspect(f.key) {
			c.endLook(f, false, errOwed)
			alone = append(alone, permit[V]{f: f})
		} else {
			rest = append(rest, f)
		}
	}
	return rest, alone
}

// lookMany reads the shared tier for fs and lands those whose value it has. It
// returns the others with what was found under their keys, and permits for those
// that could not be read.
func (c *Cache[V]) lookMany(ctx context.Context, fs []*flight[V]) (missing []*flight[V], found map[string]*shared.Found, unread []permit[V], err error) {
	var records []shared.Found
	if c.node.tier != nil {
		keys := make([]string, len(fs))
		for i, f := range fs {
			keys[i] = f.key
		}
		if records, err = c.readRecords(ctx, keys); err != nil {
			err = c.sharedFailed(err)
		}
	}
	found = make(map[string]*shared.Found, len(records))
	for i, f := range fs {
		if records != nil && c.use(f, &records[i]) {
			c.endLook(f, true, nil)
			c.land(f)
			continue
		}
		if records != nil && errors.Is(records[i].Err, shared.ErrUnread) {
			c.endLook(f, false, c.sharedFailed(records[i].Err))
			unread = append(unread, permit[V]{f: f})
			continue
		}
		if records != nil {
			c.keepOld(f, &records[i])
			found[f.key] = &records[i]
		}
		c.endLook(f, false, err)
		missing = append(missing, f)
	}
	return missing, found, unread, err
}

// acquireMany asks for the leases of fs, several at a time. It returns the
// flights that got one, and the others.
func (c *Cache[V]) acquireMany(ctx context.Context, fs []*flight[V], found map[string]*shared.Found) (granted []permit[V], others []*flight[V]) {
	permits := make([]permit[V], len(fs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(leaseWorkers, len(fs)) {
		wg.Go(func() {
			for i := range next {
				permits[i] = c.acquireOne(ctx, fs[i], found[fs[i].key])
			}
		})
	}
	for i := range fs {
		next <- i
	}
	close(next)
	wg.Wait()
	for i, p := range permits {
		if p.token != 0 {
			granted = append(granted, p)
		} else {
			others = append(others, fs[i])
		}
	}
	return granted, others
}

func (c *Cache[V]) acquireOne(ctx context.Context, f *flight[V], miss *shared.Found) permit[V] {
	if c.node.faults.NoLeases || errors.Is(miss.Err, shared.ErrNewerFormat) {
		return permit[V]{}
	}
	if miss.Kept && f.old != nil {
		return c.acquireBeside(ctx, f, miss)
	}
	token := shared.NewNonce()
	clock, _, _ := c.clock.get()
	status, _, err := c.node.tier.Acquire(ctx, c.storeKey(f.key), token, clock, unusable(miss))
	if err != nil || status != shared.LeaseGranted {
		return permit[V]{}
	}
	return permit[V]{f: f, hold: hold{token: token, clock: clock}, stop: c.renew(ctx, f.key, token, clock)}
}

// loadMany calls load once for all permits and does with each value what its
// permit allows: fill it, or keep it near for life.
func (c *Cache[V]) loadMany(ctx context.Context, permits []permit[V], load manyLoader[V], life time.Duration) {
	if len(permits) == 0 {
		return
	}
	keys := make([]string, len(permits))
	for i, p := range permits {
		keys[i] = p.f.key
		if p.token == 0 {
			permits[i].floor = c.raiseFloor(p.f.key, p.f.hash)
		}
	}
	values, err := c.sourceMany(ctx, keys, load)
	var wg sync.WaitGroup
	slots := make(chan struct{}, leaseWorkers)
	for _, p := range permits {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p.f.err = guard(func() error { return c.settle(ctx, p, values, err, life) })
			c.land(p.f)
		})
	}
	wg.Wait()
}

func (c *Cache[V]) settle(ctx context.Context, p permit[V], values map[string]V, err error, life time.Duration) error {
	v, ok := values[p.f.key]
	if err == nil && !ok {
		err = ErrNotFound
	}
	if p.token != 0 {
		p.stop()
		if p.expect != 0 {
			defer c.releaseRefresh(ctx, p.f.key, p.token, err)
		}
		if err != nil {
			return c.noValue(ctx, p.f, p.hold, err)
		}
		c.fill(ctx, p.f, &Entry[V]{Value: v}, p.hold)
		return nil
	}
	c.settleFloor(p.floor, err)
	if err != nil {
		return c.noValueHere(p.f, life, err)
	}
	p.f.value, p.f.fresh = v, true
	c.installLoaded(p.f, &Entry[V]{Value: v}, share(life, c.opts.jitter()))
	return nil
}
