package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// calm is a node of a fleet in which nothing goes wrong.
type calm struct {
	*member
	tier *shared.Tier
}

// alerts are those of docs/operations.md that are of one process and have no limit that
// depends on what it does: what may never rise on a calm fleet, and what may never be.
func (c *calm) alerts() (counts map[string]uint64, states map[string]bool) {
	n, h, s, b := c.node.Stats(), c.node.Health(), c.Stats(), c.bus.Stats()
	counts = map[string]uint64{
		"Gaps": n.Bus.Gaps, "Resets": n.Journal.Resets, "Repaired": n.Journal.Repaired, "RepairFailures": n.Journal.Failures,
		"Unconfirmed": s.Shared.Unverified, "NearStale": n.Near.Stale, "UnknownCaches": n.Bus.UnknownCaches,
		"Degraded": s.Loads.Degraded, "SharedErrors": s.Shared.Errors, "Overdue": s.Loads.LeaseTimeouts, "Panics": s.Values.Panics,
		"TooLarge": s.Values.TooLarge, "Undecodable": s.Values.Undecodable, "Malformed": b.Malformed,
		"PublishErrors": b.PublishErrors, "Unannounced": s.Writes.Unannounced, "FailedChores": n.Bus.FailedTexts,
	}
	states = map[string]bool{
		"Trusted": !h.Trusted, "Behind": h.Behind > 3*time.Second, "BusCut": h.BusCut, "Owed": h.PendingInvalidations > 0 || s.Writes.Pending > 0,
		"Journal": h.Journal != nil, "ClockLag": n.Near.ClockLag > 100*time.Millisecond, "RoundTrip": b.RoundTrip > 100*time.Millisecond,
	}
	t := c.tier.Stats()
	counts["shared.Undecodable"], counts["shared.Corrupt"], counts["shared.TooLate"] = t.Undecodable, t.Corrupt, t.TooLate
	states["shared.Open"] = t.Open
	return counts, states
}

// work does one of everything that a program may do.
func (c *calm) work(ctx context.Context) error {
	key := func() string { return fmt.Sprint("k", rand.IntN(50)) }
	tag := func() string { return fmt.Sprint("tag", rand.IntN(5)) }
	load := func(_ context.Context, key string) (string, error) {
		if key == "k7" {
			return "", nearcache.ErrNotFound
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		return key, nil
	}
	var err error
	switch rand.IntN(100) {
	case 0:
		err = c.Clear(ctx)
	case 1, 2, 3:
		err = c.InvalidateTags(ctx, tag(), tag())
	case 4, 5, 6:
		err = c.Delete(ctx, key())
	case 7, 8, 9:
		err = c.Invalidate(ctx, key(), key())
	case 10, 11, 12:
		err = c.Set(ctx, key(), "v")
	case 13, 14, 15:
		err = c.SetEntry(ctx, key(), nearcache.Entry[string]{Value: "v", Tags: []string{tag()}})
	case 16, 17:
		err = c.SetMany(ctx, map[string]string{key(): "v", key(): "v"})
	case 18, 19, 20, 21:
		_, err = c.FetchMany(ctx, []string{key(), key(), key()}, func(_ context.Context, keys []string) (map[string]string, error) {
			return map[string]string{keys[0]: "v"}, nil
		})
	case 22, 23, 24:
		_, err = c.GetMany(ctx, []string{key(), key()})
	case 25, 26, 27, 28:
		_, err = c.FetchEntry(ctx, key(), func(ctx context.Context, key string, _ *string) (nearcache.Loaded[string], error) {
			v, err := load(ctx, key)
			return nearcache.Loaded[string]{Value: v, Tags: []string{tag()}}, err
		})
	case 29:
		_, err = c.Read(ctx, key(), nearcache.ReadOptions{MaxAge: time.Second}, nil)
	default:
		_, err = c.Fetch(ctx, key(), load)
	}
	if errors.Is(err, nearcache.ErrNotFound) {
		return nil
	}
	return err
}

// TestAlerts_CalmFleet: in twenty minutes in which nothing goes wrong, with every feature in use,
// none of the alerts of docs/operations.md fires, and the log stays empty. (Those about how well a cache does its
// work are of loads and hits: LoadErrors, NearHitRatio.)
func TestAlerts_CalmFleet(t *testing.T) {
	for name, announces := range map[string]bool{"announced": true, "told afterwards": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal, f.announces = true, announces
				lines := f.log()
				opts := nearcache.Options[string]{
					TTL: time.Minute, NearTTL: 30 * time.Second, TTLJitter: 0.2, NotFoundTTL: 5 * time.Second, Stale: nearcache.Stale{For: time.Hour, Timeout: time.Second},
					RefreshAhead: 10 * time.Second, MaxConcurrentLoads: 4,
				}
				var nodes []*calm
				for range 3 {
					nodes = append(nodes, f.joinCalm(opts))
				}
				time.Sleep(10 * time.Second) // those who join late make the others catch up
				before := make([]map[string]uint64, len(nodes))
				for i, n := range nodes {
					before[i], _ = n.alerts()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
				defer cancel()
				for ctx.Err() == nil {
					for i, n := range nodes {
						err := n.work(t.Context())
						require.NoError(t, err)
						time.Sleep(rand.N(300 * time.Millisecond))
						now, states := n.alerts()
						require.Equal(t, before[i], now)
						for what, fires := range states {
							require.False(t, fires, what)
						}
					}
				}
				requireSilent(t, lines)
			})
		})
	}
}

// joinCalm adds a node, and keeps its tier.
func (f *fleet) joinCalm(opts nearcache.Options[string]) *calm {
	f.t.Helper()
	m := f.join(opts)
	return &calm{member: m, tier: f.tiers[len(f.tiers)-1]}
}

// TestAlerts_JournalIsFirst: on a busy fleet the journal is read between a write and its
// message all the time. That is no repair; a message that does not come at all is one.
func TestAlerts_JournalIsFirst(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		a.link.deaf.Store(false)
		ends := map[string]func() error{
			"Set":            func() error { return b.Set(t.Context(), "k", "v") },
			"Delete":         func() error { return b.Delete(t.Context(), "k") },
			"InvalidateTags": func() error { return b.InvalidateTags(t.Context(), "tag") },
			"Clear":          func() error { return b.Clear(t.Context()) },
		}
		brings := func() {
			v, err := a.FetchEntry(t.Context(), "k", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				return nearcache.Loaded[string]{Value: "v", Tags: []string{"tag"}}, nil
			})
			require.NoError(t, err)
			require.Equal(t, "v", v)
		}
		for what, end := range ends {
			require.NoError(t, b.Delete(t.Context(), "k"))
			wait(3 * time.Second)
			brings()
			a.link.late.Store(true) // the journal is faster
			require.NoError(t, end(), what)
			wait(3 * time.Second)
			a.link.late.Store(false)
			require.Zero(t, a.node.Stats().Journal.Repaired, what)
		}
		for what, end := range ends {
			require.NoError(t, b.Delete(t.Context(), "k"))
			wait(3 * time.Second)
			brings()
			repaired := a.node.Stats().Journal.Repaired
			a.link.loses.Store(true)
			require.NoError(t, end(), what)
			settle()
			a.link.loses.Store(false)
			wait(3 * time.Second)
			assert.Equal(t, repaired+1, a.node.Stats().Journal.Repaired, what)
		}
	}, intervals(300*time.Millisecond, 5*time.Second))
}

// TestTags_ToldOnce: what the bus told of tags the journal does not tell once more. A value
// that came near in between stays, and nothing counts as repaired.
func TestTags_ToldOnce(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		a.link.deaf.Store(false)
		for i := range 100 {
			require.NoError(t, b.InvalidateTags(t.Context(), "tag"))
			settle()
			for _, m := range []*member{a, b} {
				key := fmt.Sprint(i)
				_, err := m.FetchEntry(t.Context(), key, func(context.Context, string, *string) (nearcache.Loaded[string], error) {
					return nearcache.Loaded[string]{Value: "v", Tags: []string{"tag"}}, nil
				})
				require.NoError(t, err)
				if i%10 == 9 {
					wait(time.Second)
					requireNear(t, m, key, "v")
				}
			}
		}
		wait(3 * time.Second)
		assert.Zero(t, a.node.Stats().Journal.Repaired)
		assert.Zero(t, b.node.Stats().Journal.Repaired)
	})
}
