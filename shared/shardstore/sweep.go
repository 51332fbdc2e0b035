package shardstore

import (
	"context"
	"fmt"

	"github.com/nearbus/nearbus/shared/driver"
)

// Sweeps implements [driver.Sweeper]: it reports whether all shards do.
func (s *Store) Sweeps() bool {
	for _, sh := range s.shards {
		if sh.sweeper() == nil {
			return false
		}
	}
	return true
}

// Swept implements [driver.Sweeper]. What was swept on earlier homes counts as well.
func (s *Store) Swept(ctx context.Context, keys []string) ([]uint64, error) {
	v, groups, err := s.prepare(ctx, func(i int) string { return keys[i] }, len(keys))
	if err != nil {
		return nil, err
	}
	clocks := make([]uint64, len(keys))
	each(len(groups), func(i int) {
		if groups[i].err == nil {
			groups[i].err = s.sweptOn(ctx, v, groups[i], clocks)
		}
	})
	for _, g := range groups {
		if g.err != nil {
			return nil, g.shard.failed(g.err)
		}
	}
	return clocks, nil
}

// sweptOn enters into clocks what was swept on the shard of g and on the homes before it.
func (s *Store) sweptOn(ctx context.Context, v *view, g *group, clocks []uint64) error {
	sweeper := g.shard.sweeper()
	if sweeper == nil {
		return nil
	}
	got, err := sweeper.Swept(ctx, g.names)
	if err == nil && len(got) != len(g.names) {
		err = fmt.Errorf("%d answers to %d keys", len(got), len(g.names))
	}
	if err == nil {
		err = s.stands(ctx, v, g.shard)
	}
	if err != nil {
		return err
	}
	for n, at := range g.places {
		l, err := s.legacyOf(ctx, v, g.names[n])
		if err != nil {
			return err
		}
		clocks[at] = max(got[n], l.swept)
	}
	return nil
}

// sweeper returns the store of the shard if it sweeps, nil otherwise.
func (sh *shard) sweeper() driver.Sweeper {
	if s, ok := sh.store.(driver.Sweeper); ok && s.Sweeps() {
		return s
	}
	return nil
}

// swept returns what was swept on the shard that counts for name, 0 if it does not sweep.
func (sh *shard) swept(ctx context.Context, name string) (uint64, error) {
	s := sh.sweeper()
	if s == nil {
		return 0, nil
	}
	clocks, err := s.Swept(ctx, []string{name})
	if err != nil || len(clocks) != 1 {
		return 0, err
	}
	return clocks[0], nil
}
