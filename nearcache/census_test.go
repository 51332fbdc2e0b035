package nearcache_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// lines are what a logger wrote.
type lines struct {
	mu     sync.Mutex // protects buffer
	buffer bytes.Buffer
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// count returns how many lines have a text.
func (l *lines) count(text string) int { return strings.Count(l.String(), text) }

// elsewhere returns a fleet on the same bus whose shared tier is another one.
func (f *fleet) elsewhere() *fleet {
	other := newFleet(f.t)
	other.hub, other.journal, other.announces = f.hub, f.journal, f.announces
	return other
}

// TestMismatch_SharedTier: two servers on one bus, with a shared tier each, are trusted by
// nobody until one of them leaves.
func TestMismatch_SharedTier(t *testing.T) {
	for _, journal := range []bool{true, false} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal = journal
			var log lines
			f.nodeOpts.Logger = log.logger()
			a, b := f.join(), f.join()
			wait(20 * time.Second)
			assert.True(t, a.node.Health().Trusted, "those that have one agree")
			c := f.elsewhere().join()
			require.NoError(t, c.Set(t.Context(), "k", "v"))
			wait(15 * time.Second)
			for _, m := range []*member{a, b, c} {
				h := m.node.Health()
				assert.False(t, h.Trusted)
				assert.Regexp(t, `^other servers have another shared tier: "`, h.Mismatch)
				assert.Contains(t, h.String(), "not trusted: "+h.Mismatch)
				text, err := json.Marshal(h)
				require.NoError(t, err)
				assert.Contains(t, string(text), `"why":"other servers have another shared tier`)
				assert.EqualValues(t, 1, m.node.Stats().Bus.Mismatches)
			}
			assert.Equal(t, 2, log.count("level=ERROR"), "one line of a and of b: %s", log.String())
			wait(time.Minute)
			assert.Equal(t, 2, log.count("level=ERROR"))
			require.NoError(t, c.node.Close(atOnce))
			wait(time.Second)
			for _, m := range []*member{a, b} {
				assert.True(t, m.node.Health().Trusted)
				assert.Empty(t, m.node.Health().Mismatch)
			}
			assert.Equal(t, 2, log.count("no other server on this bus has another shared tier any more"))
		})
	}
}

// TestMismatch_Emptied: a shared tier that lost everything is the same for all that find
// that out, and nobody is told of a mismatch.
func TestMismatch_Emptied(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var log lines
		f.nodeOpts.Logger = log.logger()
		members := []*member{f.join(), f.join(), f.join()}
		wait(20 * time.Second)
		tier, err := shared.New(f.store, shared.Options{})
		require.NoError(t, err)
		const line = "the shared tier is another one than before"
		for turn := range 5 {
			require.NoError(t, tier.Records().Delete(t.Context(), "!tier"))
			var first, last time.Time
			for range 60 {
				wait(250 * time.Millisecond)
				for _, m := range members {
					require.Empty(t, m.node.Health().Mismatch)
				}
				if n := log.count(line) - 3*turn; n > 0 && first.IsZero() {
					first = time.Now()
				} else if n < 3 {
					last = time.Now()
				}
			}
			assert.LessOrEqual(t, last.Sub(first), 2*time.Second, "who hears of another identity looks at once")
		}
		assert.Equal(t, 15, log.count(line))
		assert.Zero(t, log.count("level=ERROR"))
	})
}

// TestMismatch_Namespace: nodes of one channel whose stores have two namespaces.
func TestMismatch_Namespace(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		join := func(namespace string) *nearcache.Node {
			tier, err := shared.New(named{f.store, namespace}, shared.Options{})
			require.NoError(t, err)
			b, err := bus.New(f.hub.Join(), bus.Options{})
			require.NoError(t, err)
			node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
			require.NoError(t, err)
			t.Cleanup(func() {
				require.NoError(t, node.Close(atOnce))
				require.NoError(t, b.Close())
			})
			return node
		}
		a, b := join("nearbus-shop"), join("nearbus-shop-staging")
		wait(15 * time.Second)
		for _, n := range []*nearcache.Node{a, b} {
			assert.Regexp(t, `^other servers have another namespace: "`, n.Health().Mismatch)
			assert.False(t, n.Health().Trusted)
		}
	})
}

// named is a store or a transport that tells a namespace.
type named struct {
	*gate
	namespace string
}

func (n named) Namespace() string { return n.namespace }

type namedLink struct {
	*link
	namespace string
}

func (n namedLink) Namespace() string { return n.namespace }

// TestNewNode_Namespaces: store and bus of two namespaces are refused, where both tell.
func TestNewNode_Namespaces(t *testing.T) {
	f := newFleet(t)
	for _, tt := range []struct {
		store, bus string
		refused    bool
	}{
		{"nearbus", "nearbus", false},
		{"nearbus-a", "", false},
		{"", "nearbus-a", false},
		{"nearbus-a", "nearbus-b", true},
		{"nearbus", "nearbus-b", true},
	} {
		tier, err := shared.New(named{f.store, tt.store}, shared.Options{})
		require.NoError(t, err)
		b, err := bus.New(namedLink{&link{Transport: f.hub.Join(), hub: f.hub}, tt.bus}, bus.Options{})
		require.NoError(t, err)
		node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
		if tt.refused {
			require.ErrorContains(t, err, "give both one Namespace")
		} else {
			require.NoError(t, err)
			require.NoError(t, node.Close(atOnce))
		}
		require.NoError(t, b.Close())
	}
}

// TestOptionsDiffer: options of one cache that differ are told once, after ten minutes,
// and are no matter any more when they do not.
func TestOptionsDiffer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var log lines
		f.nodeOpts.Logger = log.logger()
		a := f.join()
		b := f.join(nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}, TTL: time.Minute})
		_, err := nearcache.New(b.node, "prices", nearcache.Options[int]{TTL: time.Hour})
		require.NoError(t, err)
		const line = "another server has had another option"
		wait(10 * time.Minute)
		assert.Zero(t, log.count(line), "while a new version is rolled out, options differ")
		wait(3 * time.Minute)
		for _, m := range []*member{a, b} {
			assert.Equal(t, 3, m.node.Stats().Bus.OptionsDiffer, "FailSafe, TTL and NearTTL")
		}
		assert.Equal(t, 6, log.count(line), log.String())
		assert.Equal(t, 1, log.count(`cache=users option=FailSafe here=0s there=1h0m0s`))
		assert.Equal(t, 1, log.count(`cache=users option=FailSafe here=1h0m0s there=0s`))
		assert.Zero(t, log.count("cache=prices"), "that only one of them has it is no difference")
		wait(time.Hour)
		assert.Equal(t, 6, log.count(line))
		const over = "no other server has another option for this cache any more"
		_, err = nearcache.New(b.node, "later", nearcache.Options[int]{})
		require.NoError(t, err)
		for range 30 { // b has other options now, which are not known at once
			wait(time.Minute)
			require.Zero(t, log.count(over), log.String())
			require.Equal(t, 6, log.count(line))
		}
		require.NoError(t, b.node.Close(atOnce))
		wait(time.Second)
		assert.Zero(t, a.node.Stats().Bus.OptionsDiffer)
		assert.Equal(t, 3, log.count(over), log.String())
		assert.Equal(t, 1, log.count(over+`" cache=users option=FailSafe after=1h3`))
	})
}

// TestOptionsDiffer_Caches: a cache that only one node has is no difference.
func TestOptionsDiffer_Caches(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var log lines
		f.nodeOpts.Logger = log.logger()
		a, b := f.join(), f.join()
		_, err := nearcache.New(b.node, "prices", nearcache.Options[int]{TTL: time.Hour})
		require.NoError(t, err)
		wait(time.Hour)
		assert.Zero(t, a.node.Stats().Bus.OptionsDiffer)
		assert.Zero(t, b.node.Stats().Bus.OptionsDiffer)
		assert.Zero(t, log.count("another server has had"))
	})
}
