package coherence

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
)

const (
	// identityInterval is how often the identity of the shared tier is read, or 10 times
	// JournalInterval if that is longer: it may have been lost, or the list of servers have
	// changed.
	identityInterval = 10 * time.Second

	// identityRetry is when that is tried again after it failed.
	identityRetry = 2 * time.Second

	// foreignPatience is how long another node may name another shared tier before that is
	// told: it may be about to find out that the identity was lost.
	foreignPatience = 3 * time.Second

	// identityPause is the least time between two reads.
	identityPause = time.Second

	// lookPause is the least time between two looks at who is there.
	lookPause = time.Second

	maxForeign      = 64 // origins that are told apart
	maxServersNamed = 4  // nodes in a text
)

// census compares this node with the others that it hears: they must have one shared
// tier, one namespace and one set of options, or news that they hear of each other says
// nothing of what they read. It runs on one goroutine.
type census struct {
	node *Node
	wake chan struct{} // there is something to be looked at; never closed

	about   bus.About // what this node says of itself
	settled settled   // as of about.Settings
	tier    uint64    // identity of the shared tier, as last read; 0 before
	read    time.Time // when it was read last
	due     time.Time // when to read it next
	foreign map[origin]*foreign

	contrasts contrasts
	company   company
	self      atomic.Pointer[self] // as of the latest look

	told    atomic.Uint64          // how many origins were told of
	differs atomic.Pointer[string] // what to say in Health; nil if there is nothing

	// strangers are the incarnations of nodes that have another origin. What they write
	// says nothing of the shared tier of this node.
	strangers atomic.Pointer[map[uint64]bool]
}

// origin is what nodes must have in common.
type origin struct{ tier, namespace uint64 }

// foreign is an origin that others have, and that is not that of this node.
type foreign struct {
	since time.Time
	read  bool // the own identity was read since
	told  bool
	what  string
	nodes []string
}

func newCensus(n *Node) *census {
	c := &census{node: n, wake: make(chan struct{}, 1)}
	if n.Tier != nil {
		c.about.Namespace = hashOf(n.Tier.Namespace())
	}
	c.contrasts.log, c.company.log = n.Options.Logger, n.Options.Logger
	return c
}

// hashOf returns a number for a name, 0 for none.
func hashOf(name string) uint64 {
	if name == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return max(h.Sum64(), 1)
}

// trigger has everything looked at again.
func (c *census) trigger() {
	signal(c.wake)
}

// run ends with ctx. Then this node has nothing more to say of itself. News is waited for
// after each look: where a fleet starts, everybody is news to everybody.
func (c *census) run(ctx context.Context) {
	defer c.node.Bus.Describe(bus.About{})
	for ctx.Err() == nil {
		next := c.look(ctx)
		_ = pause.Sleep(ctx, min(next, lookPause))
		timer := time.NewTimer(next - lookPause)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look compares this node with the others, and returns when to do it again at the latest.
func (c *census) look(ctx context.Context) time.Duration {
	known := c.node.Bus.Peers()
	peers := slices.DeleteFunc(slices.Clone(known), func(p bus.Peer) bool { return p.Silent })
	if c.compare(peers) { // the identity may have been lost
		c.due = c.read.Add(identityPause)
	}
	if c.node.Tier != nil && !time.Now().Before(c.due) {
		c.identify(ctx)
		c.compare(peers)
	}
	next := c.judge()
	c.settle()
	c.node.Bus.Describe(c.about)
	next = min(next, c.contrasts.look(c.node.Bus, &c.about, peers))
	own := &self{About: c.about, unlike: *c.contrasts.unlike.Load()}
	c.self.Store(own)
	c.company.look(known, own)
	if c.node.Tier != nil {
		next = min(next, time.Until(c.due))
	}
	return max(next, time.Millisecond)
}

// identify reads the identity of the shared tier. While another node names another one and
// the own one cannot be read, this node names none: it may be the one that was lost.
func (c *census) identify(ctx context.Context) {
	tier, err := c.node.Tier.Identity(ctx)
	c.read = time.Now()
	if err != nil {
		c.due = c.read.Add(identityRetry)
		if len(c.foreign) > 0 && c.differs.Load() == nil {
			c.about.Tier = 0
		}
		return
	}
	if c.tier != 0 && c.tier != tier {
		c.node.Options.Logger.Warn("nearcache: the shared tier is another one than before: it was emptied, or the client has another list of servers")
	}
	c.tier, c.about.Tier = tier, tier
	interval := max(identityInterval, 10*min(c.node.Options.JournalInterval, shared.MaxDuration/10))
	c.due = c.read.Add(interval - rand.N(interval/4))
	for _, f := range c.foreign {
		f.read = true
	}
}

// compare takes in what the others say of themselves, and reports whether an origin is new
// that is not that of this node.
func (c *census) compare(peers []bus.Peer) (news bool) {
	found, strangers := make(map[origin]*foreign), make(map[uint64]bool)
	for i := range peers {
		o := origin{peers[i].About.Tier, peers[i].About.Namespace}
		what := c.different(o)
		if what != "" {
			strangers[peers[i].Incarnation] = true
		}
		if what == "" || found[o] == nil && len(found) == maxForeign {
			continue
		}
		if found[o] == nil {
			found[o] = &foreign{since: time.Now(), what: what}
		}
		found[o].nodes = append(found[o].nodes, strconv.Quote(peers[i].Node))
	}
	for o, f := range c.foreign {
		if found[o] == nil {
			f.left(c.node.Options.Logger)
			continue
		}
		f.nodes, f.what = found[o].nodes, found[o].what
		found[o] = f
	}
	for o := range found {
		news = news || c.foreign[o] == nil
	}
	c.foreign = found
	c.strangers.Store(&strangers)
	return news
}

// different says in what an origin is not that of this node; empty if in nothing that both
// know.
func (c *census) different(o origin) string {
	switch {
	case o.namespace != 0 && c.about.Namespace != 0 && o.namespace != c.about.Namespace:
		return "namespace"
	case o.tier != 0 && c.tier != 0 && o.tier != c.tier:
		return "shared tier"
	}
	return ""
}

// judge tells of origins that it is time for, and returns when it is for the next one.
func (c *census) judge() (next time.Duration) {
	next = identityInterval
	var texts []string
	for _, f := range c.foreign {
		if !f.told {
			if left := foreignPatience - time.Since(f.since); left > 0 {
				next = min(next, left)
				continue
			}
			if !f.read {
				continue // it will be
			}
			f.told = true
			c.told.Add(1)
			c.node.Options.Logger.Error("nearcache: other servers on this bus have another "+f.what+
				": what they write is not seen here, nor the other way round", "servers", f.names())
		}
		texts = append(texts, fmt.Sprintf("another %s: %s", f.what, f.names()))
	}
	if len(texts) == 0 {
		c.differs.Store(nil)
		return next
	}
	slices.Sort(texts)
	text := "other servers have " + strings.Join(texts, "; ")
	c.differs.Store(&text)
	return next
}

// names returns the names of a few of the nodes.
func (f *foreign) names() string {
	return few(f.nodes)
}

// few sorts names, and returns a few of them.
func few(all []string) string {
	slices.Sort(all)
	names := strings.Join(all[:min(len(all), maxServersNamed)], ", ")
	if more := len(all) - maxServersNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return names
}

// left tells that no other node has this origin any more, if it was told that some do.
func (f *foreign) left(log *slog.Logger) {
	if f.told {
		log.Info("nearcache: no other server on this bus has another "+f.what+" any more",
			"servers", f.names(), "after", time.Since(f.since).Round(time.Millisecond))
	}
}

// foreign reports whether m is from a node that has another shared tier, or namespace.
func (n *Node) foreign(m *bus.Message) bool {
	if n.census == nil {
		return false
	}
	strangers := n.census.strangers.Load()
	return strangers != nil && (*strangers)[m.Incarnation]
}

// mismatch returns what others have that this node has not; empty if there is nothing.
func (n *Node) mismatch() string {
	if n.census == nil {
		return ""
	}
	if text := n.census.differs.Load(); text != nil {
		return *text
	}
	return ""
}

// Differences returns how many times others turned out to have another shared tier or
// namespace, and in how many options of caches some differ for long.
func (n *Node) Differences() (mismatches uint64, options int) {
	if n.census == nil {
		return 0, 0
	}
	return n.census.told.Load(), int(n.census.contrasts.differ.Load())
}
