package shared_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

func TestOptions_Refused(t *testing.T) {
	for name, c := range map[string]struct {
		opts shared.Options
		want string
	}{
		"timeout":         {shared.Options{Timeout: -1}, "shared: Options.Timeout is negative: -1ns"},
		"TTL":             {shared.Options{TTL: -time.Second}, "shared: Options.TTL is negative: -1s"},
		"max value":       {shared.Options{MaxValue: -2}, "shared: Options.MaxValue is negative: -2"},
		"lease TTL":       {shared.Options{LeaseTTL: -3}, "shared: Options.LeaseTTL is negative: -3ns"},
		"tombstone TTL":   {shared.Options{TombstoneTTL: -4}, "shared: Options.TombstoneTTL is negative: -4ns"},
		"attempts":        {shared.Options{Attempts: -5}, "shared: Options.Attempts is negative: -5"},
		"many attempts":   {shared.Options{Attempts: 11}, "shared: Options.Attempts is 11, more than 10"},
		"break after":     {shared.Options{BreakAfter: -6}, "shared: Options.BreakAfter is negative: -6"},
		"break for":       {shared.Options{BreakAfter: 1, BreakFor: -7}, "shared: Options.BreakFor is negative: -7ns"},
		"no breaker":      {shared.Options{BreakFor: time.Second}, "shared: Options.BreakFor is 1s, but there is no breaker: Options.BreakAfter is 0"},
		"short lease TTL": {shared.Options{LeaseTTL: 99 * time.Millisecond}, "shared: Options.LeaseTTL is 99ms, shorter than 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			tier, err := shared.New(newServer(), c.opts)
			require.EqualError(t, err, c.want)
			assert.Nil(t, tier)
		})
	}
	newTier(t, newServer(), shared.Options{LeaseTTL: 100 * time.Millisecond})
}

// use makes one call of each kind and returns what the server heard.
func use(t *testing.T, opts shared.Options) (server *server, tier *shared.Tier, set, tombstone driver.Write) {
	t.Helper()
	server = newServer()
	tier = newTier(t, server, opts)
	require.NoError(t, tier.Set(t.Context(), "set", []byte("v"), 0))
	set = server.writes[0]
	require.NoError(t, tier.Delete(t.Context(), "deleted"))
	tombstone = server.writes[0]
	lease(t, tier, "leased", 1, driver.LeaseGranted)
	return server, tier, set, tombstone
}

func TestOptions_Defaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, tier, set, tombstone := use(t, shared.Options{})
		end, ok := server.ctx.Deadline()
		require.True(t, ok)
		assert.Equal(t, time.Second, time.Until(end))
		assert.Equal(t, time.Second, time.Until(set.NotAfter))
		assert.Equal(t, time.Second, time.Until(server.lease.NotAfter))
		assert.Equal(t, 300*time.Second, set.TTL)
		assert.Equal(t, time.Minute, tombstone.TTL)
		assert.Equal(t, 5*time.Second, server.lease.TTL)
		assert.Equal(t, 5*time.Second, tier.LeaseTTL())
		assert.Equal(t, 8<<20, tier.MaxValue())
	})
}

func TestOptions_Given(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, tier, set, tombstone := use(t, shared.Options{
			Timeout: 2 * time.Second, TTL: 3 * time.Second, MaxValue: 4, LeaseTTL: 5 * time.Minute, TombstoneTTL: 6 * time.Second,
		})
		end, ok := server.ctx.Deadline()
		require.True(t, ok)
		assert.Equal(t, 2*time.Second, time.Until(end))
		assert.Equal(t, 2*time.Second, time.Until(set.NotAfter))
		assert.Equal(t, 3*time.Second, set.TTL)
		assert.Equal(t, 6*time.Second, tombstone.TTL)
		assert.Equal(t, 5*time.Minute, server.lease.TTL)
		assert.Equal(t, 5*time.Minute, tier.LeaseTTL())
		assert.Equal(t, 4, tier.MaxValue())
	})
}

func TestOptions_TheStoreMayAllowLess(t *testing.T) {
	for name, c := range map[string]struct{ store, tier, want int }{
		"store allows less": {1000, 2000, 1000 - driver.HeaderSize},
		"tier allows less":  {1000, 500, 500},
		"header included":   {1000, 1000 - driver.HeaderSize + 1, 1000 - driver.HeaderSize},
		"store has none":    {0, 500, 500},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer()
			server.maxImage = c.store
			assert.Equal(t, c.want, newTier(t, server, shared.Options{MaxValue: c.tier}).MaxValue())
		})
	}
}
