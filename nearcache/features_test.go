package nearcache_test

import (
	"testing"
	"time"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
)

// features switches everything on that must not cost a guarantee. Values are
// refreshed all the time where the pauses before that are taken out.
var features = nearcache.Options[int64]{
	TTL: time.Minute, RefreshAhead: time.Minute - time.Millisecond, TTLJitter: 0.2,
	Stale: nearcache.Stale{For: time.Hour}, NotFoundTTL: time.Second, MaxConcurrentLoads: 4,
}

// TestCoherence_Features runs the guarantees with everything switched on.
func TestCoherence_Features(t *testing.T) {
	for name, setUp := range map[string]func(f *fleet){
		"store and bus apart": func(*fleet) {},
		"slow store":          func(f *fleet) { f.store.onAfter(slow) },
		"journal and a bus that loses half of what it is given": func(f *fleet) {
			f.journal, f.announces, f.lossy = true, true, true
			f.nodeOpts.JournalInterval = 20 * time.Millisecond
		},
		"near tier under pressure": func(f *fleet) { f.nodeOpts.NearBytes = 64 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			f.off = fault.Without(fault.Pauses)
			setUp(f)
			suite := f.suite()
			suite.Options = features
			nearcachetest.Run(t, suite)
		})
	}
	t.Run("values that end all the time", func(t *testing.T) {
		suite := newFleet(t).suite()
		suite.Options = features
		suite.Options.TTL, suite.Options.RefreshAhead = 40*time.Millisecond, 20*time.Millisecond
		nearcachetest.Run(t, suite)
	})
}
