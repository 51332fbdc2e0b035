package nearcache_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

var tooLong = []time.Duration{math.MaxInt64, shared.MaxDuration + 1}

// TestOptions_TooLong: what could not be added to a time is refused where it is given.
func TestOptions_TooLong(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		node := f.join().node
		for name, set := range map[string]func(*nearcache.Options[string], time.Duration){
			"TTL":              func(o *nearcache.Options[string], d time.Duration) { o.TTL = d },
			"NearTTL":          func(o *nearcache.Options[string], d time.Duration) { o.NearTTL = d },
			"LoadTimeout":      func(o *nearcache.Options[string], d time.Duration) { o.LoadTimeout = d },
			"NotFoundTTL":      func(o *nearcache.Options[string], d time.Duration) { o.NotFoundTTL = d },
			"Stale.For":        func(o *nearcache.Options[string], d time.Duration) { o.Stale.For = d },
			"Stale.RetryAfter": func(o *nearcache.Options[string], d time.Duration) { o.Stale.RetryAfter, o.Stale.For = d, 1 },
			"Stale.Timeout":    func(o *nearcache.Options[string], d time.Duration) { o.Stale.Timeout, o.Stale.For = d, 1 },
			"RefreshAhead":     func(o *nearcache.Options[string], d time.Duration) { o.RefreshAhead = d },
		} {
			for _, d := range tooLong {
				var opts nearcache.Options[string]
				set(&opts, d)
				_, err := nearcache.New(node, "refused", opts)
				require.ErrorContains(t, err, "nearcache: Options."+name+" is "+d.String()+", longer than 876000h0m0s")
			}
		}
		tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
		require.NoError(t, err)
		for name, set := range map[string]func(*nearcache.NodeOptions, time.Duration){
			"JournalInterval": func(o *nearcache.NodeOptions, d time.Duration) { o.JournalInterval, o.MaxStaleness = d, math.MaxInt64 },
			"MaxStaleness":    func(o *nearcache.NodeOptions, d time.Duration) { o.MaxStaleness = d },
		} {
			for _, d := range tooLong {
				var opts nearcache.NodeOptions
				set(&opts, d)
				_, err := nearcache.NewNode(tier, nil, opts)
				require.EqualError(t, err, "nearcache: NodeOptions."+name+" is "+d.String()+", longer than 876000h0m0s")
			}
		}
	})
}

// TestEntry_TooLong: lifetimes of one value are refused by the write, and by the load.
func TestEntry_TooLong(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		for _, d := range tooLong {
			for name, e := range map[string]nearcache.Entry[string]{"TTL": {TTL: d}, "NearTTL": {NearTTL: d}} {
				want := "Entry." + name + " is " + d.String() + ", longer than 876000h0m0s"
				require.ErrorContains(t, m.SetEntry(t.Context(), "k", e), want)
				require.ErrorContains(t, m.SetEntryMany(t.Context(), map[string]nearcache.Entry[string]{"k": e}), want)
				_, err := m.FetchEntry(t.Context(), "k", func(context.Context, string, *string) (nearcache.Loaded[string], error) { return asLoaded(e), nil })
				require.ErrorContains(t, err, want)
			}
		}
	})
}

// TestOptions_Longest: the longest durations that are taken work, alone and added up.
func TestOptions_Longest(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		const longest = shared.MaxDuration
		opts := nearcache.Options[string]{
			TTL: longest, NearTTL: longest, LoadTimeout: longest, NotFoundTTL: longest,
			Stale: nearcache.Stale{For: longest, RetryAfter: longest, Timeout: longest - 1}, RefreshAhead: longest - time.Hour,
		}
		here, there := f.join(opts), f.join(opts)
		require.NoError(t, here.Set(t.Context(), "k", "v"))
		settle()
		for _, m := range []*member{here, there, here, there} {
			v, err := m.Fetch(t.Context(), "k", none)
			require.NoError(t, err)
			assert.Equal(t, "v", v)
			_, err = m.Fetch(t.Context(), "absent", func(context.Context, string) (string, error) { return "", nearcache.ErrNotFound })
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		assert.NotZero(t, here.Stats().Reads.Hits)
		assert.NotZero(t, there.Stats().Reads.Hits)
		require.NoError(t, here.Invalidate(t.Context(), "k"))
		settle()
		v, err := there.Fetch(t.Context(), "k", is("w"))
		require.NoError(t, err)
		assert.Equal(t, "w", v)
	})
}
