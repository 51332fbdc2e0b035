package simulate

import (
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// neighbourhood is the namespace of the neighbours.
const neighbourhood = "neighbours"

// neighbourEach is how many operations a neighbour makes in a second, in the mean.
const neighbourEach = 10.0

// neighbours begins a second fleet on the same servers, in a namespace of its own, which
// goes on until ctx ends. Its cache, keys and tags have the names of those of the fleet.
// Its values are negative, so each side finds out whether it is given one of the other.
func (f *fleet) neighbours(ctx context.Context) error {
	for i := range f.plan.Neighbours {
		l := &life{fleet: f, name: fmt.Sprintf("neighbour-%d", i), namespace: neighbourhood, began: time.Now()}
		if err := l.open(); err != nil {
			return fmt.Errorf("simulate: %s: %w", l.name, err)
		}
		f.background.Go(func() {
			defer l.close()
			l.disturb(ctx, i)
		})
	}
	return nil
}

// disturb works until ctx ends. Calls may fail: servers are in trouble.
func (l *life) disturb(ctx context.Context, place int) {
	dice := l.fleet.seed.dice("neighbour", uint64(place))
	for count := int64(1); sleep(ctx, after(dice, neighbourEach)) == nil; count++ {
		key := dice.Uint32N(uint32(l.fleet.plan.Keys))
		foreign := nearcache.Entry[int64]{Value: -count, Tags: tagsOf(key)}
		switch dice.IntN(12) {
		case 0:
			_ = l.cache.Clear(ctx)
		case 1:
			_ = l.cache.InvalidateTags(ctx, groupTag(key%groups))
		case 2:
			_ = l.cache.Delete(ctx, keyName(key))
		case 3:
			_ = l.cache.Invalidate(ctx, keyName(key))
		case 4, 5, 6:
			_ = l.cache.SetEntry(ctx, keyName(key), foreign)
		default:
			start := now()
			value, err := l.cache.FetchEntry(ctx, keyName(key), func(context.Context, string, *int64) (nearcache.Loaded[int64], error) {
				return nearcache.Loaded[int64]{Value: foreign.Value, Tags: foreign.Tags}, nil
			})
			if err == nil && value >= 0 {
				r := history.Record{Key: key, Start: start, End: now()}
				l.fleet.oracle.foreign(l, "Fetch of a neighbour", &r, value)
			}
		}
	}
}
