package nearcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/lag"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const refreshInfix = "!refresh"

// minPause is the first pause of a node that waits for another's load.
const minPause = time.Millisecond

// loadMissed ends the calls whose reads did not give their results. Those that get their
// lease, or need none, are loaded together; each of the others waits for another node.
func (c *Cache[V]) loadMissed(ctx context.Context, calls []*call[V], load loader[V]) {
	c.guarded(calls, func() error {
		ready, waiting, stop := c.lease(ctx, calls)
		if len(ready) == 0 && len(waiting) == 1 {
			stop() // the leases of calls that turned out to be over
			c.loadLater(ctx, waiting[0], load)
			return nil
		}
		wait := c.loadOthers(ctx, waiting, load)
		defer wait() // also if user code ends this goroutine: they end their calls
		defer stop()
		c.loadAndFill(ctx, ready, load)
		return nil
	})
}

// loadOthers ends the calls of attempts that wait, each on a goroutine of its own.
func (c *Cache[V]) loadOthers(ctx context.Context, waiting []*attempt[V], load loader[V]) (wait func()) {
	if len(waiting) == 0 {
		return func() {}
	}
	var others sync.WaitGroup
	for _, a := range waiting {
		others.Go(func() {
			c.guarded(a.f.one[:], func() error {
				c.loadLater(ctx, a, load)
				return nil
			})
		})
	}
	return others.Wait
}

// attempt is a call that asks for the lease of its key.
type attempt[V any] struct {
	f      *call[V]
	token  uint64
	beside bool // the record has an old value that is of use until it is replaced: the lease is beside it

	began   time.Time      // when the lease was asked for first
	got     shared.Claimed // the last answer
	losses  uint64         // of writes, as this node knew before it asked
	moved   bool           // another record is there than the lease was asked for
	refused bool           // what was in the place of the lease turned out to be of no use
}

func attemptOf[V any](f *call[V]) attempt[V] {
	return attempt[V]{f: f, token: driver.NewNonce(), beside: f.found.Kept && f.old.Load() != nil, began: time.Now()}
}

// lease asks for the leases of the calls that are not over, in one round trip, as ask does.
func (c *Cache[V]) lease(ctx context.Context, calls []*call[V]) (ready []fill[V], waiting []*attempt[V], stop func()) {
	attempts := make([]attempt[V], 0, len(calls))
	ready = make([]fill[V], 0, len(calls))
	for _, f := range calls {
		switch {
		case f.state.ended():
		case c.node.tier == nil:
			ready = append(ready, fill[V]{f: f, life: c.opts.NearTTL})
		case f.readErr != nil:
			ready = append(ready, c.degraded(f))
		default:
			attempts = append(attempts, attemptOf(f))
		}
	}
	return c.ask(ctx, attempts, ready)
}

// degraded is a load while the shared tier is down.
func (c *Cache[V]) degraded(f *call[V]) fill[V] {
	c.keys.degraded.Add(1)
	return fill[V]{f: f, life: c.node.opts.MaxStaleness}
}

// ask asks for leases in one round trip. It adds to ready the loads that may begin, some
// of which are for this node alone because a lease is not to be had, and returns the
// attempts that have to wait. The leases are renewed until stop is called: while values are loaded, and
// stored part by part.
func (c *Cache[V]) ask(ctx context.Context, attempts []attempt[V], ready []fill[V]) (_ []fill[V], waiting []*attempt[V], stop func()) {
	asking, claims := attempts[:0], make([]shared.Claim, 0, len(attempts))
	losses := c.node.losses()
	for _, a := range attempts {
		if errors.Is(a.f.found.Err, shared.ErrNewerFormat) {
			ready = append(ready, fill[V]{f: a.f})
			continue
		}
		a.losses = losses
		asking, claims = append(asking, a), append(claims, c.keys.claim(a.f.key, a.token, a.beside, a.f.found))
	}
	if len(claims) == 0 {
		return ready, nil, func() {}
	}
	asked := time.Now()
	answers := c.keys.acquire(ctx, claims)
	held := claims[:0]
	var besides []*attempt[V]
	for i, claim := range claims {
		a, got := &asking[i], &answers[i]
		switch a.got = *got; {
		case got.Err != nil:
			c.keys.sharedErrors.Add(1)
			ready = append(ready, c.degraded(a.f))
		case got.Status == driver.LeaseHeld, got.Status == driver.LeasePresent && !a.beside:
			waiting = append(waiting, a)
		case got.Status != driver.LeaseGranted:
			ready = append(ready, fill[V]{f: a.f}) // of another kind, say
		case a.beside:
			besides, held = append(besides, a), append(held, claim)
		default:
			ready, held = append(ready, fill[V]{f: a.f, hold: c.keys.holdInPlace(claim, got, a.f.found)}), append(held, claim)
		}
	}
	stop = c.keys.renew(ctx, held, asked)
	returned := false
	defer func() {
		if !returned { // user code ended this goroutine: nobody fills any of them
			stop()
			c.keys.giveBack(ctx, c.granted(asking)...)
		}
	}()
	ready, moved := c.readAgain(ctx, besides, ready)
	returned = true
	return ready, append(waiting, moved...), stop
}

// granted returns what gives back the leases that attempts were granted.
func (c *Cache[V]) granted(attempts []attempt[V]) (back []shared.Put) {
	for i := range attempts {
		a := &attempts[i]
		if a.got.Err != nil || a.got.Status != driver.LeaseGranted {
			continue
		}
		claim := c.keys.claim(a.f.key, a.token, a.beside, a.f.found)
		if a.beside {
			back = append(back, c.keys.released(claim, nil))
		} else {
			back = append(back, claim.Released())
		}
	}
	return back
}

// readAgain reads the records again that leases were granted beside, since whoever held
// such a lease before may have refreshed the record. It adds to ready the loads that may
// begin, and returns the attempts whose leases have to be in the place of the record now.
func (c *Cache[V]) readAgain(ctx context.Context, besides []*attempt[V], ready []fill[V]) (_ []fill[V], moved []*attempt[V]) {
	if len(besides) == 0 {
		return ready, nil
	}
	keys := make([]string, len(besides))
	for i, a := range besides {
		keys[i] = a.f.key
	}
	found, err := c.keys.readRecords(ctx, keys)
	var back []shared.Put
	var over []*call[V]
	for i, a := range besides {
		claim := c.keys.claim(a.f.key, a.token, true, nil)
		switch {
		case err != nil || errors.Is(found[i].Err, shared.ErrUnread):
			c.keys.sharedErrors.Add(1)
			ready = append(ready, c.degraded(a.f))
		case c.use(a.f, &found[i]):
			over = append(over, a.f)
		case !found[i].Kept:
			c.move(a, &found[i])
			moved = append(moved, a)
		default:
			a.f.found = &found[i]
			ready = append(ready, fill[V]{f: a.f, hold: c.keys.holdBeside(claim, &a.got, &found[i])})
			continue
		}
		back = append(back, c.keys.released(claim, nil))
	}
	c.keys.giveBack(ctx, back...)
	for _, f := range over {
		c.finish(f, nil)
	}
	return ready, moved
}

// move has a begin anew, for the record found.
func (c *Cache[V]) move(a *attempt[V], found *shared.Found) {
	c.meetDeleted(a.f, found)
	a.f.found = found
	*a = attemptOf(a.f)
	a.moved = true
}

// loadLater ends the call of a, whose lease was not granted. It waits for one lease time:
// then whoever holds the lease is slow, and this node loads for itself.
func (c *Cache[V]) loadLater(ctx context.Context, a *attempt[V], load loader[V]) {
	for {
		ready, again := c.settle(ctx, a)
		if !again {
			c.loadAndFill(ctx, ready, load)
			return
		}
		if ctx.Err() != nil || time.Since(a.began) >= c.node.tier.LeaseTTL() {
			c.keys.overdue.Add(1)
			c.loadAndFill(ctx, []fill[V]{{f: a.f}}, load)
			return
		}
		ready, waiting, stop := c.ask(ctx, []attempt[V]{*a}, nil)
		if len(waiting) == 0 {
			defer stop()
			c.loadAndFill(ctx, ready, load)
			return
		}
		stop()
		a = waiting[0]
	}
}

// settle does what the answer to a leaves to do. It returns whether to ask again, and
// otherwise what is to be loaded, if the call is not over.
func (c *Cache[V]) settle(ctx context.Context, a *attempt[V]) (ready []fill[V], again bool) {
	switch {
	case a.moved:
		a.moved = false
		return nil, true
	case a.got.Status == driver.LeaseHeld:
		return nil, c.await(ctx, a)
	}
	found, err := c.keys.present(ctx, a.f.key, a.got.Present, a.losses)
	switch {
	case err != nil:
		c.keys.sharedErrors.Add(1)
		return []fill[V]{c.degraded(a.f)}, false
	case c.use(a.f, found):
		c.finish(a.f, nil)
		return nil, false
	case a.refused: // by a server that is behind, say
		_ = sleep(ctx, pauseAfter(time.Since(a.began)))
	}
	a.f.found, a.refused = found, true
	return nil, true
}

// present returns what was found under key in the place of a lease, judged; losses is
// how often the shared tier had lost writes before. If what judges it is not known any
// more, the record is read again together with that.
func (k *keyspace) present(ctx context.Context, key string, found shared.Found, losses uint64) (*shared.Found, error) {
	records, keys := []shared.Found{found}, []string{key}
	again, err := k.judge(ctx, keys, records, losses, false)
	if _, known, _ := k.clock.Get(); err == nil && (again || !known || k.node.proves()) { // which a lease does not
		records, err = k.readRecords(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	return &records[0], nil
}

// errUnrefreshed is why a caller gets an old value: the node that was to get
// another did not.
var errUnrefreshed = errors.New("nearcache: another node could not refresh the value")

// await waits, with pauses that grow, until the holder of the lease has filled it, in
// which case the call of a is over, or the lease is gone, or one lease time has passed. It
// reports whether the lease is to be asked for again.
func (c *Cache[V]) await(ctx context.Context, a *attempt[V]) (again bool) {
	c.keys.waits.Add(1)
	for {
		waited := time.Since(a.began)
		if waited >= c.node.tier.LeaseTTL() || sleep(ctx, pauseAfter(waited)) != nil {
			return true
		}
		record, lease, err := c.keys.readWithLease(ctx, a.f.key, a.beside)
		switch {
		case err != nil:
			return true // who asks again will meet it
		case c.use(a.f, record):
			if a.beside {
				c.keys.loadsAgain()
			}
			c.finish(a.f, nil)
			return false
		case a.beside && record.Nonce != a.f.found.Nonce && !record.Kept:
			c.move(a, record)
			return true
		case a.beside && record.Nonce != a.f.found.Nonce:
			return true
		case lease.Kind == driver.KindLease:
		case a.beside && lease.Kind == driver.KindTombstone && lease.Codec == driver.TombstoneFailed:
			c.finish(a.f, errUnrefreshed)
			return false
		default: // what its holder loaded was not taken, or it died
			return true
		}
	}
}

// pauseAfter returns a pause of a twentieth of the time waited at most, jittered
// downwards so that nodes do not ask in step.
func pauseAfter(waited time.Duration) time.Duration {
	p := max(minPause, waited/20)
	return p - rand.N(p/4)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// claim asks for the lease of key: beside its record, which stays of use, or in its
// place, where found was found.
func (k *keyspace) claim(key string, token uint64, beside bool, found *shared.Found) shared.Claim {
	if beside {
		return shared.Claim{Key: k.refreshKey(key), Token: token}
	}
	clock, _, _ := k.clock.Get()
	return shared.Claim{Key: k.storeKey(key), Token: token, Clock: clock, Discard: unusable(found)}
}

// unusable returns the header of a record that a lease may replace: one that
// is there and is not a live value.
func unusable(found *shared.Found) []byte {
	if errors.Is(found.Err, shared.ErrNotFound) && !found.Kept {
		return nil
	}
	return found.Header
}

// acquire asks for leases in one round trip.
func (k *keyspace) acquire(ctx context.Context, claims []shared.Claim) []shared.Claimed {
	if !k.node.faults.Off(fault.Leases) {
		return k.node.tier.Acquire(ctx, claims)
	}
	all := make([]shared.Claimed, len(claims))
	for i := range all {
		all[i].Status = driver.LeaseGranted
	}
	return all
}

// refreshKey is where the lease for refreshing a key is. Names of caches have no
// exclamation mark in them, and keys have a colon after the name.
func (k *keyspace) refreshKey(key string) string {
	name := k.name + refreshInfix + ":"
	if len(name)+len(key) > shared.MaxKeySize {
		sum := sha256.Sum256([]byte(key))
		return k.name + refreshInfix + "!" + hex.EncodeToString(sum[:])
	}
	return name + key
}

// holdInPlace is the right that a lease in the place of the record gives, where miss was
// found before.
func (k *keyspace) holdInPlace(claim shared.Claim, got *shared.Claimed, miss *shared.Found) hold {
	return hold{
		lease: claim, clock: claim.Clock, born: got.Revision, replaced: got.Replaced.Revision,
		Lag: k.lagOf(got, &got.Replaced, claim.Clock, miss),
	}
}

// holdBeside is the right to replace the record found, for a load that begins
// now. The lease may be in another partition, so what tells how old the load is comes with
// the record.
func (k *keyspace) holdBeside(lease shared.Claim, got *shared.Claimed, found *shared.Found) hold {
	clock, _, _ := k.clock.Get()
	var replaced driver.Record // a value that stays of use tells of no invalidation
	if found.Kind == driver.KindStale {
		replaced = found.Record
	}
	return hold{
		lease: lease, clock: clock, born: found.Head, expect: found.Nonce,
		Lag: k.lagOf(got, &replaced, clock, found),
	}
}

// lagOf judges a load that is to replace the record replaced, under a lease that was
// granted just now. miss is what a read found before.
func (k *keyspace) lagOf(got *shared.Claimed, replaced *driver.Record, clock uint64, miss *shared.Found) lag.Lag {
	l := lag.New(got, replaced)
	l.Invalidated(clock)
	if len(miss.Slots) > 0 {
		if at := k.tags.Newest(miss.Slots); at > miss.TagClock {
			l.Invalidated(at)
		}
	}
	return l
}

// released is what gives a lease beside a record back, after a load that ended with
// err. Of a failure those who wait for the lease are told.
func (k *keyspace) released(lease shared.Claim, err error) shared.Put {
	put := lease.Released()
	put.TTL = time.Millisecond
	if err != nil && !errors.Is(err, ErrNotFound) {
		put.Record.Codec, put.TTL = driver.TombstoneFailed, k.node.tier.LeaseTTL()/5
	}
	return put
}

// giveBack gives leases beside records back. If that fails, they end by themselves.
func (k *keyspace) giveBack(ctx context.Context, released ...shared.Put) {
	if len(released) == 0 {
		return
	}
	for _, r := range k.node.tier.Fill(ctx, released) {
		if r.Err != nil && !errors.Is(r.Err, shared.ErrLeaseLost) {
			k.sharedErrors.Add(1)
		}
	}
}

// renew renews leases, which were asked for at a moment, until it is stopped, each
// until it is lost: it is, too, once its load is stored. Rounds begin a third of their
// lifetime apart, or two thirds if one server does not answer, so that the leases on
// others stand. It keeps held. The stop function waits for a renewal under way.
func (k *keyspace) renew(ctx context.Context, held []shared.Claim, asked time.Time) (stop func()) {
	if len(held) == 0 {
		return func() {}
	}
	every := k.node.tier.LeaseTTL() / 3
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(every-time.Since(asked), func() {
		defer close(ended)
		for {
			began, left := time.Now(), held[:0]
			for i, err := range k.node.tier.Renew(ctx, held) {
				if !errors.Is(err, shared.ErrLeaseLost) {
					left = append(left, held[i])
				}
			}
			held = left
			if len(held) == 0 || sleep(ctx, every-time.Since(began)) != nil {
				return
			}
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	}
}

// readWithLease reads the record of key, and its lease: that is the record itself, unless the lease
// is beside it.
func (k *keyspace) readWithLease(ctx context.Context, key string, beside bool) (record, lease *shared.Found, err error) {
	var leases []shared.Found
	if beside { // the lease first: who gives it back has stored before
		if leases, err = k.node.tier.Read(ctx, []string{k.refreshKey(key)}); err != nil {
			return nil, nil, err
		}
	}
	records, err := k.readRecords(ctx, []string{key})
	if err != nil {
		return nil, nil, err
	}
	if beside {
		return &records[0], &leases[0], nil
	}
	return &records[0], &records[0], nil
}
