package bus_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// TestOptions_TooLong: what could not be added to a time is refused where it is given.
func TestOptions_TooLong(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, set := range map[string]func(*bus.Options, time.Duration){
		"HeartbeatInterval": func(o *bus.Options, d time.Duration) { o.HeartbeatInterval = d },
		"HeartbeatTimeout":  func(o *bus.Options, d time.Duration) { o.HeartbeatTimeout = d },
		"PublishTimeout":    func(o *bus.Options, d time.Duration) { o.PublishTimeout = d },
	} {
		for _, d := range []time.Duration{math.MaxInt64, year + 1} {
			var opts bus.Options
			set(&opts, d)
			_, err := bus.New(membus.NewHub().Join(), opts)
			require.EqualError(t, err, "bus: Options."+name+" is "+d.String()+", longer than 8760h0m0s")
		}
	}
	b, err := bus.New(membus.NewHub().Join(), bus.Options{HeartbeatInterval: year - 1, HeartbeatTimeout: year, PublishTimeout: year})
	require.NoError(t, err)
	require.NoError(t, b.Close())
}
