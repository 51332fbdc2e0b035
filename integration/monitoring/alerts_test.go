package monitoring_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/memstore"
)

// When a fault begins and ends, and when it is long gone.
const (
	faultBegins = 3 * time.Minute
	faultEnds   = 16 * time.Minute
	faultIsGone = 30 * time.Minute
)

// broken are the faults of a fleet, and what they have to do with alerts and spans.
var broken = map[string]struct {
	opts        options
	switchOn    func(f *fleet, on bool)
	early, late []string // alerts that fire three and twelve minutes later
	maybe       []string // alerts that may fire as well
	both        []string // those of both times
	fails       bool     // reads fail
}{
	"bus cut": {
		switchOn: func(f *fleet, on bool) { f.servers[1].busCut.Store(on) },
		early:    []string{"NearbusBusCut", "NearbusPeersUnheard", "NearbusPublishFails"},
		late:     []string{"NearbusBusCut", "NearbusMessagesLost", "NearbusPeersUnheard", "NearbusPublishFails"},
	},
	"messages lost in silence": {
		switchOn: func(f *fleet, on bool) { f.servers[1].busDeaf.Store(on) },
		both:     []string{"NearbusGaps"},
	},
	"journal unreadable": {
		switchOn: func(f *fleet, on bool) { f.servers[1].noJournal.Store(on) },
		both:     []string{"NearbusBehind", "NearbusJournalUnreadable", "NearbusSharedFails", "NearbusStaleHits", "NearbusUntrusted", "NearbusUnverified"},
	},
	"journal unreadable, stale values served": {
		opts:     options{node: nearcache.NodeOptions{ServeStale: true}},
		switchOn: func(f *fleet, on bool) { f.servers[1].noJournal.Store(on) },
		both:     []string{"NearbusBehind", "NearbusJournalUnreadable", "NearbusStaleHits", "NearbusUntrusted", "NearbusUnverified"},
	},
	"writes refused": {
		switchOn: func(f *fleet, on bool) { f.servers[1].noWrites.Store(on) },
		both:     []string{"NearbusPendingInvalidations", "NearbusSharedFails"},
	},
	"store away": {
		switchOn: func(f *fleet, on bool) {
			for _, s := range f.servers {
				s.noStore.Store(on)
			}
		},
		early: []string{"NearbusBehind", "NearbusJournalUnreadable", "NearbusPendingInvalidations", "NearbusSharedFails", "NearbusStaleHits", "NearbusUntrusted"},
		late:  []string{"NearbusBehind", "NearbusJournalUnreadable", "NearbusPendingInvalidations", "NearbusSharedFails", "NearbusUntrusted"},
	},
	"source down": {
		switchOn: func(f *fleet, on bool) { f.servers[1].sourceDown.Store(on) },
		both:     []string{"NearbusLoadErrors"},
		fails:    true,
	},
	"source down, old values allowed": {
		opts:     options{cache: nearcache.Options[string]{TTL: time.Minute, Stale: nearcache.Stale{For: time.Hour}}},
		switchOn: func(f *fleet, on bool) { f.servers[1].sourceDown.Store(on) },
		both:     []string{"NearbusLoadErrors", "NearbusOldValues"},
		fails:    true, // of a key that has no old value
	},
	"another shared tier": {
		switchOn: func(f *fleet, on bool) {
			if on {
				f.join(memstore.New(memstore.Options{}), f.hub, f.opts)
			} else {
				f.leave()
			}
		},
		both:  []string{"NearbusOtherTier", "NearbusUntrusted"},
		maybe: []string{"NearbusSharedFails", "NearbusStaleHits"}, // in most runs: what comes first decides
	},
	"a server on another channel": {
		switchOn: func(f *fleet, on bool) {
			if on {
				f.join(f.memory, membus.NewHub(), f.opts)
			} else {
				f.leave()
			}
		},
		both: []string{"NearbusMessagesLost", "NearbusPeersUnheard"},
	},
	"other options": {
		switchOn: func(f *fleet, on bool) {
			if on {
				f.join(f.memory, f.hub, options{cache: nearcache.Options[string]{TTL: time.Minute}})
			} else {
				f.leave()
			}
		},
		late: []string{"NearbusOptionsDiffer"},
	},
}

// TestAlerts_Faults: under each fault those alerts fire that should, and no others, and none when
// it is long gone.
func TestAlerts_Faults(t *testing.T) {
	t.Parallel()
	for name, c := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := inFleet(t, c.opts, func(f *fleet) {
				f.runUntil(faultBegins)
				c.switchOn(f, true)
				f.runUntil(faultEnds)
				c.switchOn(f, false)
				f.runUntil(faultIsGone)
			})
			r.requireFiring(t, c.maybe, map[time.Duration][]string{
				faultBegins: nil, faultBegins + 3*time.Minute: slices.Concat(c.both, c.early), faultEnds - time.Minute: slices.Concat(c.both, c.late), faultIsGone - time.Minute: nil,
			})
		})
	}
}

// TestAlerts_CalmHour: in an hour in which nothing goes wrong no alert ever fires, from the first
// scrapes of servers that just started on.
func TestAlerts_CalmHour(t *testing.T) {
	t.Parallel()
	r := inFleet(t, options{cache: nearcache.Options[string]{
		TTL: time.Minute, NotFoundTTL: 5 * time.Second, Stale: nearcache.Stale{For: time.Hour}, RefreshAhead: 10 * time.Second,
	}}, func(f *fleet) { f.runUntil(time.Hour + scrapeInterval) })
	firing := make(map[time.Duration][]string)
	for at := time.Duration(0); at <= time.Hour; at += scrapeInterval {
		firing[at] = nil
	}
	r.requireFiring(t, nil, firing)
}
