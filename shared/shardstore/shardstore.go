package shardstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// maxReroutes is how often one call follows a map that changes.
const maxReroutes = 8

// Store is a [driver.Store] over several.
type Store struct {
	shards     []*shard // by name
	byName     map[string]*shard
	opts       Options
	own        shardMap  // as configured
	base       time.Time // its monotonic reading is what the Store's clock counts from
	maxImage   int
	partitions int             // of all journals; 0 if a shard has none
	epochs     []atomic.Uint64 // of each journal, as last read; as first proved before; 0 before that

	view atomic.Pointer[view] // nil while no map is known to be in effect
	last atomic.Pointer[view] // the latest one; stays

	settled atomic.Uint64 // how often the map was found out

	legaciesMu sync.Mutex // protects the fields below
	legacies   map[string]legacy
	legaciesOf *view

	opening chan struct{} // holds one element while the map is being found out; guards handing
	handing handing
}

var (
	_ driver.Store     = (*Store)(nil)
	_ driver.Journaler = (*Store)(nil)
	_ driver.Recaller  = (*Store)(nil)
	_ driver.Prover    = (*Store)(nil)
	_ driver.Sweeper   = (*Store)(nil)
	_ driver.Toucher   = (*Store)(nil)
	_ driver.Clocked   = (*Store)(nil)
	_ driver.Named     = (*Store)(nil)
)

// New returns a Store over shards, in any order. It asks none of them: see
// [Store.Open].
func New(shards []Shard, opts Options) (*Store, error) {
	if err := validateShards(shards); err != nil {
		return nil, err
	}
	if err := opts.validate(shards); err != nil {
		return nil, err
	}
	s := &Store{
		byName: make(map[string]*shard), opts: opts.withDefaults(),
		base: time.Now(), opening: make(chan struct{}, 1),
	}
	s.opts.Lost = slices.Clone(opts.Lost)
	s.own.Epoch, s.own.Expired = s.opts.Epoch, s.opts.Expired
	shards = slices.Clone(shards)
	slices.SortFunc(shards, func(a, b Shard) int { return cmp.Compare(a.Name, b.Name) })
	journals := true
	for i := range shards {
		sh := newShard(&shards[i])
		sh.offset = s.partitions
		s.partitions += sh.partitions
		journals = journals && sh.journal != nil
		s.shards, s.byName[sh.name] = append(s.shards, sh), sh
		if !sh.idle {
			s.own.Members = append(s.own.Members, sh.member())
		}
		if n := sh.store.MaxImage(); n > 0 && (s.maxImage == 0 || n < s.maxImage) {
			s.maxImage = n
		}
	}
	if !journals {
		s.partitions = 0
	}
	s.epochs = make([]atomic.Uint64, s.partitions)
	return s, nil
}

// Open returns when the map is in effect, or with the reason why it cannot be
// until ctx ended. A map that is new takes Options.Handover; calls of other
// methods wait for it as well, as long as their contexts allow. A program that
// calls Open before it takes work does not begin with failures.
func (s *Store) Open(ctx context.Context) error {
	_, err := s.current(ctx)
	return err
}

// Locate returns the shard that key is on, and what it is called there. It
// waits as Open does.
func (s *Store) Locate(ctx context.Context, key string) (shard, nameThere string, err error) {
	v, err := s.current(ctx)
	if err != nil {
		return "", "", err
	}
	home, since := v.maps.locate(key)
	return home.Name, name(key, since), nil
}

// now is the clock of the Store: that of this process as it was at New, going
// on by the monotonic clock.
func (s *Store) now() time.Time { return s.base.Add(time.Since(s.base)) }

// Time returns the clock of this process. Those of the shards are translated.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, fmt.Errorf("shardstore: time: %w", err)
	}
	return s.now(), nil
}

// Namespace returns that of the shards, if they all have the same.
func (s *Store) Namespace() string {
	name := ""
	for i, sh := range s.shards {
		n, ok := sh.store.(driver.Named)
		if !ok || i > 0 && n.Namespace() != name {
			return ""
		}
		name = n.Namespace()
	}
	return name
}

// MaxImage returns the smallest of those of the shards.
func (s *Store) MaxImage() int { return s.maxImage }

// AtMost implements [driver.Clocked].
func (s *Store) AtMost(key string) time.Time {
	if v := s.view.Load(); v != nil {
		home, _ := v.maps.locate(key)
		return s.byName[home.Name].clock.AtMost()
	}
	var latest time.Time
	for _, sh := range s.shards {
		if at := sh.clock.AtMost(); at.After(latest) {
			latest = at
		}
	}
	return latest
}

// group is the part of a call that goes to one shard.
type group struct {
	shard  *shard
	places []int    // of its keys in the call
	names  []string // of the keys there
	err    error
}

// route divides keys among their shards.
func (s *Store) route(v *view, keys func(i int) string, n int) []*group {
	var groups []*group
	at := make(map[string]*group)
	for i := range n {
		home, since := v.maps.locate(keys(i))
		g := at[home.Name]
		if g == nil {
			g = &group{shard: s.byName[home.Name]}
			at[home.Name] = g
			groups = append(groups, g)
		}
		g.places = append(g.places, i)
		g.names = append(g.names, name(keys(i), since))
	}
	return groups
}

// prepare divides n keys among their shards and makes sure that each of these
// has the map that it went by. A shard that does not answer has its error.
func (s *Store) prepare(ctx context.Context, keys func(i int) string, n int) (*view, []*group, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("shardstore: %w", err)
	}
	var groups []*group
	v, err := s.confirmed(ctx, func(v *view) []*group {
		groups = s.route(v, keys, n)
		return groups
	})
	return v, groups, err
}

// confirmed returns the map that is in effect, when the shards of the groups
// that it makes have confirmed it or did not answer.
func (s *Store) confirmed(ctx context.Context, groups func(*view) []*group) (*view, error) {
	since := s.settled.Load()
	v, err := s.current(ctx)
	for range maxReroutes {
		if err != nil {
			return nil, err
		}
		all := groups(v)
		some, cancel := partly(ctx)
		each(len(all), func(i int) { all[i].err = s.confirm(some, v, all[i].shard) })
		cancel()
		if !isNews(all) && !s.leftOut(ctx, v, all) {
			return v, nil
		}
		v, err = s.reopen(ctx, since)
		since = s.settled.Load()
	}
	return nil, fmt.Errorf("shardstore: followed the map %d times: %w", maxReroutes, errNews)
}

// isNews reports whether a shard of these has another map.
func isNews(groups []*group) bool {
	return slices.ContainsFunc(groups, func(g *group) bool { return errors.Is(g.err, errNews) })
}

// leftOut reports whether a shard of these did not answer, and another one, which had the
// map of v, has another map now. The shard may be lost: then nobody can tell it of a map
// without it, and who uses no other shard would go by the earlier map for as long as it runs.
func (s *Store) leftOut(ctx context.Context, v *view, groups []*group) bool {
	if !slices.ContainsFunc(groups, func(g *group) bool { return g.err != nil }) {
		return false
	}
	var others []*group
	for _, sh := range s.shards {
		if t := sh.trust.Load(); t != nil && t.view == v && !slices.ContainsFunc(groups, func(g *group) bool { return g.shard == sh }) {
			others = append(others, &group{shard: sh})
		}
	}
	some, cancel := partly(ctx)
	defer cancel()
	each(len(others), func(i int) { others[i].err = s.confirm(some, v, others[i].shard) })
	return isNews(others)
}

// each calls f with 0 to n-1, all at the same time, and waits: one shard that hangs
// holds up no other.
func each(n int, f func(i int)) {
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { f(i) }) // ends with its call of a shard; waited for below
	}
	if n > 0 {
		f(0)
	}
	others.Wait()
}

// Read implements [driver.Store]. Each shard is asked once, all at the same
// time.
func (s *Store) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := s.ReadProven(ctx, keys)
	return images, err
}

// Proves implements [driver.Prover]: it reports whether all shards do.
func (s *Store) Proves() bool {
	for _, sh := range s.shards {
		if p, ok := sh.store.(driver.Prover); !ok || !p.Proves() {
			return false
		}
	}
	return s.partitions > 0
}

// ReadProven implements [driver.Prover].
func (s *Store) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	v, groups, err := s.prepare(ctx, func(i int) string { return keys[i] }, len(keys))
	if err != nil {
		return nil, nil, err
	}
	images, heads, errs := make([][]byte, len(keys)), make([]driver.Revision, len(keys)), make([]error, len(keys))
	each(len(groups), func(i int) { s.read(ctx, v, groups[i], images, heads, errs) })
	return images, heads, driver.Partial(errs)
}

func (s *Store) read(ctx context.Context, v *view, g *group, images [][]byte, heads []driver.Revision, errs []error) {
	var got [][]byte
	var proof []driver.Revision // nil if the shard gives none
	err := g.err
	if p, ok := g.shard.store.(driver.Prover); err == nil && ok {
		got, proof, err = p.ReadProven(ctx, g.names)
	} else if err == nil {
		got, err = g.shard.store.Read(ctx, g.names)
	}
	unread := make([]error, len(g.places))
	var partial *driver.PartialError
	switch {
	case errors.As(err, &partial) && len(partial.Errs) == len(unread) && len(got) == len(unread):
		copy(unread, partial.Errs)
		err = nil
	case err == nil && len(got) != len(unread):
		err = fmt.Errorf("%d answers to %d keys", len(got), len(unread))
	}
	if err == nil {
		err = s.stands(ctx, v, g.shard)
	}
	for n, at := range g.places {
		errs[at] = err
		if errs[at] == nil {
			errs[at] = unread[n]
		}
		if errs[at] == nil && got[n] == nil {
			if proof != nil {
				s.proved(g.names[n], proof[n])
			}
			got[n], errs[at] = s.inherited(ctx, v, g.names[n])
		}
		if errs[at] != nil {
			errs[at] = g.shard.failed(errs[at])
			continue
		}
		images[at] = got[n]
		if proof != nil {
			heads[at] = proof[n]
		}
		g.shard.translate(s, images[at])
	}
}

// Write implements [driver.Store].
func (s *Store) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.writeAll(ctx, writes, driver.Store.Write)
}

// Fill implements [driver.Store].
func (s *Store) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.writeAll(ctx, writes, driver.Store.Fill)
}

// writing is the method of a shard by which it writes.
type writing func(driver.Store, context.Context, []driver.Write) []driver.Receipt

// writeAll has each shard write its part of writes, all at the same time.
func (s *Store) writeAll(ctx context.Context, writes []driver.Write, by writing) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	var places []int // of those that are not refused at once
	for i := range writes {
		if receipts[i].Err = s.fits(&writes[i]); receipts[i].Err == nil {
			places = append(places, i)
		}
	}
	v, groups, err := s.prepare(ctx, func(i int) string { return writes[places[i]].Key }, len(places))
	if err != nil {
		for _, at := range places {
			receipts[at].Err = err
		}
		return receipts
	}
	each(len(groups), func(i int) {
		g := groups[i]
		for n, at := range g.places {
			g.places[n] = places[at]
		}
		s.write(ctx, v, g, writes, receipts, by)
	})
	return receipts
}

// fits refuses what one of the shards would not take, whichever the key is on.
func (s *Store) fits(w *driver.Write) error {
	if s.maxImage > 0 && len(w.Image) > s.maxImage {
		return driver.ErrTooLarge
	}
	return nil
}

// write sends its part of writes to one shard and enters what became of them
// into receipts.
func (s *Store) write(ctx context.Context, v *view, g *group, writes []driver.Write, receipts []driver.Receipt, by writing) {
	ours, places := make([]driver.Write, 0, len(g.places)), make([]int, 0, len(g.places))
	for n, at := range g.places {
		w := writes[at]
		w.Key, w.NotAfter, w.Announce = g.names[n], g.shard.theirs(s, w.NotAfter), nil
		err := g.err
		if err == nil {
			err = s.inherit(ctx, v, &w)
		}
		if err != nil {
			receipts[at].Err = g.shard.failed(err)
			continue
		}
		ours, places = append(ours, w), append(places, at)
	}
	if len(ours) == 0 {
		return
	}
	sent := time.Now()
	got := by(g.shard.store, ctx, ours)
	received := time.Now()
	err := s.stands(ctx, v, g.shard)
	for n, r := range got {
		g.shard.clock.Observe(sent, received, r.Now)
		if !r.Now.IsZero() {
			r.Now = s.now()
		}
		switch {
		case err != nil && r.Err == nil:
			r = driver.Receipt{Err: g.shard.failed(err)}
		case r.Err != nil:
			r.Err = g.shard.failed(r.Err)
		}
		receipts[places[n]] = r
	}
}

// Acquire implements [driver.Store]. Each shard is asked once, all at the same
// time.
func (s *Store) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := make([]driver.Grant, len(leases))
	v, groups, err := s.prepare(ctx, func(i int) string { return leases[i].Key }, len(leases))
	if err != nil {
		for i := range grants {
			grants[i].Err = err
		}
		return grants
	}
	each(len(groups), func(i int) { s.acquire(ctx, v, groups[i], leases, grants) })
	return grants
}

// acquire asks one shard for its part of leases and enters what became of them
// into grants.
func (s *Store) acquire(ctx context.Context, v *view, g *group, leases []driver.Lease, grants []driver.Grant) {
	ours, places := make([]driver.Lease, 0, len(g.places)), make([]int, 0, len(g.places))
	for n, at := range g.places {
		l, err := leases[at], g.err
		var found *driver.Grant
		if err == nil {
			found, err = s.acquirable(ctx, v, g.shard, g.names[n], &l)
		}
		switch {
		case err != nil:
			grants[at].Err = g.shard.failed(err)
			continue
		case found != nil:
			grants[at] = *found
			continue
		}
		l.Key, l.NotAfter, l.Discard = g.names[n], g.shard.theirs(s, l.NotAfter), discardable(l.Discard)
		ours, places = append(ours, l), append(places, at)
	}
	if len(ours) == 0 {
		return
	}
	sent := time.Now()
	got := g.shard.store.Acquire(ctx, ours)
	received := time.Now()
	err := s.stands(ctx, v, g.shard)
	for n, grant := range got {
		g.shard.clock.Observe(sent, received, grant.Now)
		if !grant.Now.IsZero() {
			grant.Now = s.now()
		}
		if grant.Err == nil {
			grant.Err = err
		}
		if grant.Err != nil {
			grant = driver.Grant{Now: grant.Now, Err: g.shard.failed(grant.Err)}
		} else {
			g.shard.translate(s, grant.Image)
		}
		grants[places[n]] = grant
	}
}
