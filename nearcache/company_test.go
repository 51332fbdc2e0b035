package nearcache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// company returns the lines about other nodes.
func (l *lines) company() (all []string) {
	for line := range strings.Lines(l.String()) {
		if _, text, about := strings.Cut(line, `level=INFO msg="nearcache: other servers `); about {
			all = append(all, strings.TrimSpace(text))
		}
	}
	return all
}

// TestCompany: who joins, falls silent, is heard again and leaves is a line each, and counted.
func TestCompany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var log lines
		f.journal = true
		f.nodeOpts.Logger = log.logger()
		a := f.join()
		f.nodeOpts.Logger = nil
		assert.Empty(t, a.node.Peers())
		b, c := f.join(), f.join()
		wait(5 * time.Second)
		assert.Equal(t, nearcache.PeerCounts{Heard: 2}, a.node.Health().Peers)
		assert.Contains(t, a.node.Health().String(), "; hears 2 other servers")
		require.Len(t, a.node.Peers(), 2)
		for _, p := range a.node.Peers() {
			assert.Empty(t, p.Differs)
			assert.Equal(t, 2, p.Version)
			assert.NotZero(t, p.About.Tier)
			assert.Less(t, time.Since(p.Heard), 2*time.Second)
		}
		b.link.mute.Store(true)
		wait(10 * time.Second)
		assert.Equal(t, nearcache.PeerCounts{Heard: 1, Silent: 1}, a.node.Health().Peers)
		assert.Contains(t, a.node.Health().String(), "; hears 1 other server, 1 more silent")
		b.link.mute.Store(false)
		wait(5 * time.Second)
		assert.Equal(t, nearcache.PeerCounts{Heard: 2}, a.node.Health().Peers)
		require.NoError(t, c.node.Close(atOnce))
		wait(2 * time.Second)
		assert.Equal(t, nearcache.PeerCounts{Heard: 1}, a.node.Health().Peers)

		said := log.company()
		require.GreaterOrEqual(t, len(said), 3, said)
		assert.Regexp(t, `^joined" servers="\\".*count=\d heard=\d$`, said[0])
		assert.Regexp(t, `^that had fallen silent are heard again" servers="\\"\S+\\"" after=1\d(\.\d+)?s$`, said[len(said)-2])
		assert.Regexp(t, `^left" servers="\\"\S+\\"" count=1 heard=1$`, said[len(said)-1])
		assert.Equal(t, 1, log.count("another server has fallen silent"))
		wait(time.Hour)
		assert.Equal(t, said, log.company(), "nothing is news")
	})
}

// TestCompany_Differs: who is not set up alike is counted by what differs, within minutes.
func TestCompany_Differs(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		f.join(nearcache.Options[string]{TTL: time.Minute})
		f.elsewhere().join()
		_, err := nearcache.New(f.join().node, "prices", nearcache.Options[int]{})
		require.NoError(t, err)
		wait(3 * time.Minute)
		assert.Equal(t, nearcache.PeerCounts{Heard: 3, Foreign: 1, OtherOptions: 1}, a.node.Health().Peers,
			"that only one of them has a cache is no difference")
		differs := map[string]int{}
		for _, p := range a.node.Peers() {
			differs[p.Differs]++
		}
		assert.Equal(t, map[string]int{"": 1, "shared tier": 1, "options": 1}, differs)
	})
}

// TestOptionsDiffer_OfNodes: nodes without a journal beside others that have one, or that serve
// for longer, are told of.
func TestOptionsDiffer_OfNodes(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var log lines
		f.nodeOpts.Logger = log.logger()
		f.journal = true
		f.join()
		f.nodeOpts.Logger = nil
		f.nodeOpts.MaxStaleness = 7 * time.Second
		f.journal = false
		f.join()
		wait(15 * time.Minute)
		assert.Equal(t, 1, log.count(`msg="nearcache: another server has had another option for more than 10 minutes" option=MaxStaleness here=`+nearcache.DefaultStaleness.String()+` there=7s`), log.String())
		assert.Equal(t, 1, log.count(`option=journals here=1 there=0`))
		assert.Equal(t, 2, log.count("has had another option"))
	})
}
