package nearcache

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/shared"
)

// duration is an option that says a time.
type duration struct {
	name  string
	value time.Duration
}

// tooLong refuses what cannot be added to a time, or to another one.
func (d duration) tooLong(of string) error {
	if d.value > shared.MaxDuration {
		return fmt.Errorf("nearcache: %s.%s is %v, longer than %v", of, d.name, d.value, shared.MaxDuration)
	}
	return nil
}

// lives returns the lifetimes of an entry with these TTLs, cut at random where the options
// say so.
func (o *plain) lives(ttl, nearTTL time.Duration) (l coherence.Lifetimes, err error) {
	if ttl < 0 || nearTTL < 0 {
		return l, fmt.Errorf("nearcache: a lifetime of the value is negative: TTL %v, NearTTL %v", ttl, nearTTL)
	}
	for _, f := range []duration{{"TTL", ttl}, {"NearTTL", nearTTL}} {
		if err := f.tooLong("Entry"); err != nil {
			return l, err
		}
	}
	l = coherence.Lifetimes{TTL: o.TTL, Near: o.NearTTL, Told: nearTTL}
	if ttl > 0 {
		l.TTL = ttl
	}
	if nearTTL > 0 {
		l.Near = nearTTL
	}
	keep := o.jitter()
	l.TTL, l.Near = share(l.TTL, keep), share(l.Near, keep)
	l.Near, l.Ahead = min(l.Near, l.TTL), o.ahead(l.TTL)
	return l, nil
}

// ahead returns how long before its end a value that lives for life is to be refreshed.
// For one that lives shorter than TTL that is half of its life at most, or the share
// that RefreshAhead is of TTL, if that is more: otherwise it would be refreshed as soon
// as it is there.
func (o *plain) ahead(life time.Duration) time.Duration {
	if life >= o.TTL {
		return o.RefreshAhead
	}
	part := max(0.5, float64(o.RefreshAhead)/float64(o.TTL))
	return min(o.RefreshAhead, share(life, part))
}

// livesOf returns what is left of the lifetimes of the record found, the near one cut at
// random where the options say so. Its writer knew how long it was to live.
func (o *plain) livesOf(found *shared.Found) coherence.Lifetimes {
	l := coherence.Lifetimes{TTL: found.Left, Near: o.NearTTL, Ahead: o.RefreshAhead}
	if found.Left == 0 { // it has no end
		l.TTL = math.MaxInt64
	}
	if found.NearTTL > 0 {
		l.Near = found.NearTTL
	}
	if found.Ahead > 0 {
		l.Ahead = min(l.Ahead, found.Ahead)
	}
	l.Near = min(share(l.Near, o.jitter()), l.TTL)
	return l
}

// jitter returns the share of a lifetime that is left to it.
func (o *plain) jitter() float64 {
	if o.TTLJitter == 0 {
		return 1
	}
	return 1 - o.TTLJitter*rand.Float64()
}

func share(d time.Duration, part float64) time.Duration {
	if part == 1 {
		return d
	}
	return max(1, time.Duration(float64(d)*part))
}
