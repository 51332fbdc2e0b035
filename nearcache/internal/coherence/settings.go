package coherence

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
)

const (
	// settingsPatience is how long another node may have other options before that is
	// told: while a new version is rolled out, some have.
	settingsPatience = 10 * time.Minute

	// settingsRetry is when a node is asked again for its options. As long is what the
	// first question waits for at most, so that one node asks for many.
	settingsRetry = time.Minute

	maxContrasts = 64 // digests of others that are told apart

	// ofNode stands for the node in the place of a cache. No cache has the name.
	ofNode = "!node"
)

// settled is what the options of a node depend on, since those of a cache do not change.
type settled struct {
	changes  uint64 // of the caches
	journals int
}

// settle takes in the options of the node and of its caches, if there may be others than at the
// latest look: to list those of many caches at each look is work for nothing.
func (c *census) settle() {
	now := settled{changes: c.node.caches.changes.Load()}
	if c.node.Tier != nil {
		now.journals = c.node.Tier.Partitions()
	}
	if c.about.Options == 0 || c.settled != now {
		c.about.Settings, c.about.Options = c.node.settings(c.node.caches.all())
		c.settled = now
	}
}

// settings returns the options in which nodes, and the caches of one name, must not differ,
// and their digest.
func (n *Node) settings(caches []*Keyspace) (all []bus.Setting, digest uint64) {
	all = append(all,
		bus.Setting{Cache: ofNode, Option: "HeartbeatInterval", Value: n.Bus.HeartbeatInterval().String()},
		bus.Setting{Cache: ofNode, Option: "MaxStaleness", Value: n.Options.MaxStaleness.String()})
	if n.Tier != nil {
		all = append(all, bus.Setting{Cache: ofNode, Option: "journals", Value: strconv.Itoa(n.Tier.Partitions())})
	}
	for _, k := range slices.SortedFunc(slices.Values(caches), func(a, b *Keyspace) int { return cmp.Compare(a.Name, b.Name) }) {
		for _, s := range k.Options.Agreed {
			all = append(all, bus.Setting{Cache: k.Name, Option: s.Option, Value: s.Value})
		}
	}
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "%s %s %s\n", s.Cache, s.Option, s.Value)
	}
	return all, hashOf(text.String())
}

// contrasts are the options of other nodes that are not those of this one.
type contrasts struct {
	log     *slog.Logger
	digests map[uint64]*contrast
	told    map[place]string    // the other value
	since   map[place]time.Time // when it was told
	differ  atomic.Int64        // how many are told of

	// unlike are the digests of those who differ in something that both have.
	unlike atomic.Pointer[map[uint64]bool]

	mu    sync.Mutex // protects heard
	heard map[uint64][]bus.Setting
}

// place is an option of a cache.
type place struct{ cache, option string }

// contrast is a digest that others have.
type contrast struct {
	since, ask time.Time // when it was met, and when somebody is to be asked for what is behind it
	settings   []bus.Setting
	known      bool
	nodes      []bus.Peer // that have it
}

// hear takes in settings that some node told. They are of use only for a digest that was
// met.
func (cs *contrasts) hear(digest uint64, settings []bus.Setting) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, met := cs.heard[digest]; met {
		cs.heard[digest] = settings
	}
}

// look takes in which digests others have, asks for what is behind those that have stayed
// for too long, and tells what differs. It returns when to do it again.
func (cs *contrasts) look(b *bus.Bus, own *bus.About, peers []bus.Peer) (next time.Duration) {
	cs.meet(own.Options, peers)
	next, now := identityInterval, time.Now()
	told, unlike := make(map[place]string), make(map[uint64]bool)
	undecided := false // somebody has other options, which are not to be told yet
	for _, digest := range slices.Sorted(maps.Keys(cs.digests)) {
		c := cs.digests[digest]
		ask, tell := c.ask.Sub(now), c.since.Add(settingsPatience).Sub(now)
		switch {
		case c.known:
			differences := unlikeSettings(own.Settings, c.settings)
			unlike[digest] = len(differences) > 0
			if tell > 0 {
				next = min(next, tell)
				undecided = undecided || len(differences) > 0
			} else {
				cs.tell(differences, c, told)
			}
		case ask > 0:
			next = min(next, ask)
			undecided = true
		default:
			undecided = true
			b.AskSettings(c.nodes[rand.N(len(c.nodes))].Incarnation)
			c.ask = now.Add(settingsRetry)
		}
	}
	if undecided {
		for at, there := range cs.told {
			if _, again := told[at]; !again {
				told[at] = there
			}
		}
	}
	cs.end(told)
	cs.told = told
	cs.unlike.Store(&unlike)
	cs.differ.Store(int64(len(told)))
	return next
}

// end tells which options differ no more. told are those that still do.
func (cs *contrasts) end(told map[place]string) {
	since := make(map[place]time.Time, len(told))
	for at := range told {
		if since[at] = cs.since[at]; since[at].IsZero() {
			since[at] = time.Now()
		}
	}
	for at, began := range cs.since {
		after := time.Since(began).Round(time.Millisecond)
		switch _, still := told[at]; {
		case still:
		case at.cache == ofNode:
			cs.log.Info("nearcache: no other server has another option any more", "option", at.option, "after", after)
		default:
			cs.log.Info("nearcache: no other server has another option for this cache any more",
				"cache", at.cache, "option", at.option, "after", after)
		}
	}
	cs.since = since
}

// meet takes in which digests others have.
func (cs *contrasts) meet(own uint64, peers []bus.Peer) {
	found := make(map[uint64]*contrast)
	for _, peer := range peers {
		digest := peer.About.Options
		if digest == 0 || own == 0 || digest == own || found[digest] == nil && len(found) == maxContrasts {
			continue
		}
		if found[digest] == nil {
			now := time.Now()
			found[digest] = &contrast{since: now, ask: now.Add(rand.N(settingsRetry))}
			if old := cs.digests[digest]; old != nil {
				found[digest], old.nodes = old, nil
			}
		}
		found[digest].nodes = append(found[digest].nodes, peer)
	}
	cs.digests = found
	cs.mu.Lock()
	defer cs.mu.Unlock()
	heard := make(map[uint64][]bus.Setting)
	for digest, c := range found {
		heard[digest] = cs.heard[digest]
		if heard[digest] != nil {
			c.settings, c.known = heard[digest], true
		}
	}
	cs.heard = heard
}

// difference is an option in which another node differs from this one.
type difference struct {
	place
	here, there string
}

// unlikeSettings returns the options that differ, of the node and of the caches that both have.
func unlikeSettings(own, others []bus.Setting) (all []difference) {
	values := make(map[place]string)
	for _, s := range own {
		values[place{s.Cache, s.Option}] = s.Value
	}
	for _, s := range others {
		at := place{s.Cache, s.Option}
		if value, both := values[at]; both && value != s.Value {
			all = append(all, difference{at, value, s.Value})
		}
	}
	return all
}

// tell tells of the options in which c differs from what this node has, of each once. It notes
// them in told.
func (cs *contrasts) tell(differences []difference, c *contrast, told map[place]string) {
	for _, d := range differences {
		_, old := cs.told[d.place]
		switch server := strconv.Quote(c.nodes[0].Node); {
		case old || told[d.place] != "":
		case d.cache == ofNode:
			cs.log.Warn("nearcache: another server has had another option for more than 10 minutes",
				"option", d.option, "here", d.here, "there", d.there, "server", server)
		default:
			cs.log.Warn("nearcache: another server has had another option for this cache for more than 10 minutes",
				"cache", d.cache, "option", d.option, "here", d.here, "there", d.there, "server", server)
		}
		told[d.place] = cmp.Or(d.there, "none")
	}
}
