package shardstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

// ErrMap says that this process and the shards do not agree on the map, and
// that waiting will not help. Nothing is read or written until they do.
var ErrMap = errors.New("shardstore: the map of shards is refused")

// view is a map that has taken effect. It is immutable.
type view struct {
	maps     history
	digest   string
	tag      uint64 // of journal positions, so that those of another view are known
	handover time.Duration
}

func newView(c *charter) *view {
	digest := c.digest()
	return &view{maps: c.Maps, digest: digest, tag: mix(hash(digest)) | 1, handover: c.handover()}
}

// handing is a map that every shard has been told of and that has not taken
// effect yet.
type handing struct {
	digest string
	ready  time.Time // when no process uses an earlier map any more
}

// errNews says that a registry changed while it was dealt with.
var errNews = errors.New("shardstore: the map changed meanwhile")

// current returns the view, after opening the store if there is none.
func (s *Store) current(ctx context.Context) (*view, error) {
	if v := s.view.Load(); v != nil {
		return v, nil
	}
	return s.reopen(ctx, s.settled.Load())
}

// reopen finds out what the map is now, unless somebody did since the caller
// read the number of times that it was done.
func (s *Store) reopen(ctx context.Context, since uint64) (*view, error) {
	select {
	case s.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("shardstore: waiting for the map: %w", ctx.Err())
	}
	defer func() { <-s.opening }()
	if v := s.view.Load(); v != nil && s.settled.Load() != since {
		return v, nil
	}
	for {
		v, err := s.settle(ctx)
		if !errors.Is(err, errNews) {
			return v, err
		}
		if err := bounded.Sleep(ctx, registryPause); err != nil {
			return nil, fmt.Errorf("shardstore: the map changes: %w", err)
		}
	}
}

// settle asks all shards for the map, decides which one holds, tells those that
// do not know it, and waits until it has taken effect. It is the only one that
// sets the view. One runs at a time.
func (s *Store) settle(ctx context.Context) (*view, error) {
	answers := s.ask(ctx)
	c, err := s.choose(answers)
	if err != nil {
		s.view.Store(nil)
		return nil, err
	}
	digest := c.digest()
	if v := s.view.Load(); v != nil && v.digest != digest {
		s.view.Store(nil)
	}
	told, err := s.tell(ctx, answers, c)
	if err == nil && !c.Active {
		told, err = s.activate(ctx, told, c)
	}
	if err != nil {
		return nil, err
	}
	v := s.view.Load()
	if v == nil {
		v = newView(c)
	}
	for i, f := range told {
		if f.err == nil {
			s.shards[i].trust.Store(&trust{v, f.at})
		}
	}
	s.last.Store(v)
	s.view.Store(v)
	s.settled.Add(1)
	return v, nil
}

// maxAsking is how long a shard may take to say what map it has.
const maxAsking = time.Second

// partly returns a context with half of the time that is left: a shard that
// hangs must not use up that of the others.
func partly(ctx context.Context) (context.Context, context.CancelFunc) {
	d := maxAsking
	if deadline, ok := ctx.Deadline(); ok {
		d = min(time.Until(deadline)/2, d)
	}
	return context.WithTimeout(ctx, d)
}

// ask reads all registries.
func (s *Store) ask(ctx context.Context) []found {
	ctx, cancel := partly(ctx)
	defer cancel()
	answers := make([]found, len(s.shards))
	each(len(s.shards), func(i int) { answers[i] = s.shards[i].readRegistry(ctx) })
	return answers
}

// choose returns the charter that is to hold, going by what the registries say
// and by what this process was configured with.
func (s *Store) choose(answers []found) (*charter, error) {
	if err := refused(answers); err != nil {
		return nil, err
	}
	best, err := highest(answers)
	if err != nil && s.own.Epoch <= best.epoch() {
		return nil, err
	}
	last := s.last.Load()
	if last != nil && (best == nil || best.epoch() < last.maps.current().Epoch) {
		// The shards have lost the map that this process knows.
		best = &charter{Handover: last.handover.Milliseconds(), Maps: last.maps}
	}
	switch {
	case best == nil:
		return s.begin(answers, nil)
	case s.own.Epoch > best.epoch():
		if err != nil {
			best.Maps = nil // two maps have this epoch: nobody can say where what was
		}
		return s.begin(answers, best)
	case s.own.Epoch == best.epoch() && !best.Maps.current().equal(&s.own):
		return nil, fmt.Errorf("%w: another one has epoch %d: raise Options.Epoch", ErrMap, s.own.Epoch)
	default:
		return best, s.knows(best)
	}
}

// refused returns the error of a shard that is not what it should be.
func refused(answers []found) error {
	for _, f := range answers {
		if errors.Is(f.err, ErrMap) {
			return f.err
		}
	}
	return nil
}

// highest returns the charter of the highest epoch, nil if there is none. Of
// several for the same map it is the one with the longest history; of several
// for different maps it is any, with an error.
func highest(answers []found) (best *charter, err error) {
	same := true
	for _, f := range answers {
		c := f.charter
		switch {
		case c == nil || best != nil && c.epoch() < best.epoch():
		case best == nil || c.epoch() > best.epoch():
			best, err, same = c, nil, true
		case !c.Maps.current().equal(best.Maps.current()):
			err = fmt.Errorf("%w: two have epoch %d: raise Options.Epoch", ErrMap, best.epoch())
		case c.digest() != best.digest():
			same = false
			if len(c.Maps) > len(best.Maps) || len(c.Maps) == len(best.Maps) && c.digest() > best.digest() {
				best = c
			}
		case c.Active:
			best = c
		}
	}
	if best == nil {
		return nil, nil
	}
	chosen := *best
	chosen.Active = chosen.Active && same
	return &chosen, err
}

// begin returns the charter of the map of this process, after those of base.
func (s *Store) begin(answers []found, base *charter) (*charter, error) {
	c := &charter{Handover: s.opts.Handover.Milliseconds(), Maps: history{s.own}}
	if base != nil {
		if err := s.keeps(base); err != nil {
			return nil, err
		}
		c.Handover = max(c.Handover, base.Handover)
		if base.Maps.needed(s.own.Expired, s.reachable) == nil {
			c.Maps = base.Maps.with(s.own)
		}
	}
	return c, answered(answers)
}

// keeps requires that every shard that may be in use under base can be told.
func (s *Store) keeps(base *charter) error {
	for i := range base.Maps {
		if base.Active && i < len(base.Maps)-1 {
			continue
		}
		for _, m := range base.Maps[i].Members {
			if s.byName[m.Name] == nil && !slices.Contains(s.opts.Lost, m.Name) {
				return fmt.Errorf("%w: shard %q had keys in epoch %d: make it Idle first, or name it in Options.Lost",
					ErrMap, m.Name, base.Maps[i].Epoch)
			}
		}
	}
	return nil
}

// answered requires that every shard answered.
func answered(answers []found) error {
	for _, f := range answers {
		if f.err != nil {
			return fmt.Errorf("shardstore: a map can begin when every shard is there: %w", f.err)
		}
	}
	return nil
}

// knows requires that this process can follow the map of c.
func (s *Store) knows(c *charter) error {
	for _, m := range c.Maps.current().Members {
		if err := s.reachable(c.epoch(), &m); err != nil {
			return err
		}
		if sh := s.byName[m.Name]; sh.partitions != m.Partitions {
			return fmt.Errorf("%w: in epoch %d, shard %q has %d partitions, here %d", ErrMap, c.epoch(), m.Name, m.Partitions, sh.partitions)
		}
	}
	return c.Maps.needed(c.Maps.current().Expired, s.reachable)
}

// reachable requires that this process knows a shard that had keys in an epoch.
func (s *Store) reachable(epoch uint64, m *member) error {
	if s.byName[m.Name] == nil {
		return fmt.Errorf("%w: that of epoch %d has shard %q, which this process does not know", ErrMap, epoch, m.Name)
	}
	return nil
}

// tell writes c to the shards that have another one or none. The error is
// errNews if one has a later one by now.
func (s *Store) tell(ctx context.Context, answers []found, c *charter) ([]found, error) {
	digest := c.digest()
	told := slices.Clone(answers)
	each(len(s.shards), func(i int) {
		// What was there when c was chosen may be replaced, even if it is another
		// map of this epoch; what came in since may not.
		for chosen := !c.Active; told[i].err == nil; chosen = false {
			old := told[i].charter
			switch {
			case old == nil || old.epoch() < c.epoch() || chosen && old.epoch() == c.epoch() && old.digest() != digest:
			case old.digest() != digest:
				told[i].err = errNews
				return
			case old.Active || !c.Active:
				return
			}
			told[i] = s.shards[i].writeRegistry(ctx, told[i], *c)
		}
	})
	for _, f := range told {
		if errors.Is(f.err, errNews) || errors.Is(f.err, ErrMap) {
			return nil, f.err
		}
	}
	return told, nil
}

// activate waits until no process uses an earlier map than that of c, whom
// every shard has been told of, and makes it take effect.
//
// Why that is safe: a process uses a shard only until its trust in it ends, a
// handover after it asked the shard for the map. Whoever was answered with an
// earlier map asked before the shard was told of this one.
func (s *Store) activate(ctx context.Context, told []found, c *charter) ([]found, error) {
	if err := answered(told); err != nil {
		return nil, err
	}
	digest := c.digest()
	if s.handing.digest != digest {
		s.handing = handing{digest, time.Now().Add(c.handover() + c.handover()/8)}
	}
	if err := bounded.Sleep(ctx, time.Until(s.handing.ready)); err != nil {
		return nil, fmt.Errorf("shardstore: the map of epoch %d has not taken effect yet: %w", c.epoch(), err)
	}
	s.handing = handing{}
	c.Active = true
	return s.tell(ctx, s.ask(ctx), c)
}

// confirm makes sure that sh has the map of v, asking it if it was last asked
// too long ago. The error is errNews if it has not.
func (s *Store) confirm(ctx context.Context, v *view, sh *shard) error {
	if sh.trusted(v, v.handover/2) {
		return nil
	}
	select {
	case sh.turn <- struct{}{}:
	default:
		if sh.trusted(v, v.handover) {
			return nil // somebody asks
		}
		select {
		case sh.turn <- struct{}{}:
		case <-ctx.Done():
			return sh.failed(ctx.Err())
		}
	}
	defer func() { <-sh.turn }()
	if sh.trusted(v, v.handover/2) {
		return nil
	}
	return s.question(ctx, v, sh)
}

// question asks sh whether it has the map of v.
func (s *Store) question(ctx context.Context, v *view, sh *shard) error {
	f := sh.readRegistry(ctx)
	switch {
	case f.err != nil:
		return f.err
	case f.charter == nil || f.charter.digest() != v.digest:
		return errNews
	}
	sh.trust.Store(&trust{v, f.at})
	return nil
}

// stands reports that what sh did a moment ago was done while the map of v was
// in effect.
func (s *Store) stands(ctx context.Context, v *view, sh *shard) error {
	if sh.trusted(v, v.handover) {
		return nil
	}
	err := s.question(ctx, v, sh)
	if errors.Is(err, errNews) {
		err = sh.failed(errNews)
	}
	return err
}
