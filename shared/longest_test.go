package shared_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

const forever = time.Duration(math.MaxInt64)

// TestOptions_TooLong: what could not be added to a time is refused where it is given.
func TestOptions_TooLong(t *testing.T) {
	for name, set := range map[string]func(*shared.Options, time.Duration){
		"Timeout":      func(o *shared.Options, d time.Duration) { o.Timeout = d },
		"BreakFor":     func(o *shared.Options, d time.Duration) { o.BreakFor, o.BreakAfter = d, 1 },
		"TTL":          func(o *shared.Options, d time.Duration) { o.TTL = d },
		"LeaseTTL":     func(o *shared.Options, d time.Duration) { o.LeaseTTL = d },
		"TombstoneTTL": func(o *shared.Options, d time.Duration) { o.TombstoneTTL = d },
	} {
		for _, d := range []time.Duration{forever, shared.MaxDuration + 1} {
			var opts shared.Options
			set(&opts, d)
			_, err := shared.New(newServer(), opts)
			require.ErrorContains(t, err, "shared: Options."+name+" is "+d.String()+", longer than 876000h0m0s")
		}
	}
	o := shared.Options{
		Timeout: shared.MaxDuration, BreakAfter: 1, BreakFor: shared.MaxDuration, TTL: shared.MaxDuration,
		LeaseTTL: shared.MaxDuration, TombstoneTTL: shared.MaxDuration,
	}
	tier := newTier(t, memstore.New(memstore.Options{}), o)
	require.NoError(t, tier.Set(t.Context(), "k", []byte("v"), 0))
	v, err := tier.Get(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, "v", string(v))
	require.NoError(t, tier.Delete(t.Context(), "k"))
}

// TestTier_LifetimesTooLong: those of a call are refused as those of the options are, and
// nothing is sent.
func TestTier_LifetimesTooLong(t *testing.T) {
	tier := newTier(t, newServer(), shared.Options{})
	require.EqualError(t, tier.Set(t.Context(), "k", nil, forever), `shared: set "k": ttl is 2562047h47m16.854775807s, longer than 876000h0m0s`)
	record := driver.Record{Kind: driver.KindValue}
	for _, put := range []shared.Put{{TTL: forever}, {TTL: 1, Keep: forever}, {Keep: forever}, {TTL: -1}, {TTL: 1, Keep: -1}} {
		put.Key, put.Record = "k", record
		for _, r := range append(tier.Write(t.Context(), []shared.Put{put}), tier.Fill(t.Context(), []shared.Put{put})...) {
			require.ErrorContains(t, r.Err, `shared: "k": Put.TTL is `)
			require.ErrorContains(t, r.Err, "not in 0 to 876000h0m0s")
		}
	}
	memory := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	longest := shared.Put{Key: "k", Record: record, TTL: shared.MaxDuration, Keep: shared.MaxDuration}
	require.NoError(t, memory.Write(t.Context(), []shared.Put{longest})[0].Err)
	found, err := memory.Read(t.Context(), []string{"k"})
	require.NoError(t, err)
	require.NoError(t, found[0].Err)
	assert.False(t, found[0].Kept)
	assert.Greater(t, found[0].Left, shared.MaxDuration-time.Hour)
}
