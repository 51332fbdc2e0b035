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
)

// settings returns the options in which the caches of one name must not differ, and their
// digest.
func (n *Node) settings() (all []bus.Setting, digest uint64) {
	caches := *n.caches.Load()
	for _, name := range slices.Sorted(maps.Keys(caches)) {
		for _, s := range caches[name].Options.Agreed {
			all = append(all, bus.Setting{Cache: name, Option: s.Option, Value: s.Value})
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
	told    map[place]string // the other value
	differ  atomic.Int64     // how many are told of

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
	told := make(map[place]string)
	for _, digest := range slices.Sorted(maps.Keys(cs.digests)) {
		c := cs.digests[digest]
		switch left := c.ask.Sub(now); {
		case c.known:
			cs.compare(own.Settings, c, told)
		case left > 0:
			next = min(next, left)
		default:
			b.AskSettings(c.nodes[rand.N(len(c.nodes))].Incarnation)
			c.ask = now.Add(settingsRetry)
		}
	}
	cs.told = told
	cs.differ.Store(int64(len(told)))
	return next
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
			found[digest] = &contrast{since: now, ask: now.Add(settingsPatience + rand.N(settingsRetry))}
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

// compare tells of the options in which c differs from what this node has, of the caches
// that both have. It notes them in told.
func (cs *contrasts) compare(own []bus.Setting, c *contrast, told map[place]string) {
	values := make(map[place]string)
	for _, s := range own {
		values[place{s.Cache, s.Option}] = s.Value
	}
	for _, s := range c.settings {
		at := place{s.Cache, s.Option}
		value, both := values[at]
		if !both || value == s.Value {
			continue
		}
		if _, old := cs.told[at]; !old && told[at] == "" {
			cs.log.Warn("nearcache: another server has had another option for this cache for more than 10 minutes",
				"cache", s.Cache, "option", s.Option, "here", value, "there", s.Value, "server", strconv.Quote(c.nodes[0].Node))
		}
		told[at] = cmp.Or(s.Value, "none")
	}
}
