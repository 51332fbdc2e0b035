package shardstore_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
)

// TestG6_LeaseBesideOnAnotherShard: the lease beside a record may be on another shard, whose
// epoch is another one, so what was loaded under it must not be refused. Of 30 keys past
// their TTL, each is loaded once, and read after that.
func TestG6_LeaseBesideOnAnotherShard(t *testing.T) {
	for name, opts := range map[string]nearcache.Options[string]{
		"FailSafe":     {TTL: 10 * time.Second, Stale: nearcache.Stale{For: time.Hour}},
		"RefreshAhead": {TTL: 10 * time.Second, RefreshAhead: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPark("a", "b", "c")
				n := node(t, p.open(t, 1, "a", "b", "c"), membus.NewHub())
				c, err := nearcache.New(n, "users", opts)
				require.NoError(t, err)
				time.Sleep(5 * time.Second)
				ctx := t.Context()
				loads := map[string]int{}
				load := func(_ context.Context, key string) (string, error) {
					loads[key]++
					return "new", nil
				}
				for i := range 30 {
					require.NoError(t, c.Set(ctx, fmt.Sprint(i), "old"))
				}
				time.Sleep(opts.TTL - opts.RefreshAhead + time.Second)
				for range 4 {
					for i := range 30 {
						_, err := c.Fetch(ctx, fmt.Sprint(i), load)
						require.NoError(t, err)
						synctest.Wait()
					}
					time.Sleep(time.Second)
				}
				again := 0
				for _, n := range loads {
					if n > 1 {
						again++
					}
				}
				assert.Zero(t, again, "keys that were loaded again and again")
				assert.Zero(t, c.Stats().Loads.Rejected)
			})
		})
	}
}
