package nearcache_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestOptions_Loads: what is out of range is refused by name and value.
func TestOptions_Loads(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		for want, opts := range map[string]nearcache.Options[string]{
			"Options.NotFoundTTL is negative: -1s":       {NotFoundTTL: -time.Second},
			"Options.TTLJitter is -0.1, not in 0 to":     {TTLJitter: -0.1},
			"Options.TTLJitter is 1, not in 0 to 0.9":    {TTLJitter: 1},
			"Options.TTLJitter is NaN, not in 0 to":      {TTLJitter: math.NaN()},
			"Options.MaxConcurrentLoads is negative: -1": {MaxConcurrentLoads: -1},
		} {
			_, err := nearcache.New(m.node, "other", opts)
			require.ErrorContains(t, err, "nearcache: "+want)
		}
	})
}
