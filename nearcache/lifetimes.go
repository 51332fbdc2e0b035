package nearcache

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

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

// lifetimes are how long a value lives.
type lifetimes struct {
	ttl  time.Duration // in the shared tier
	near time.Duration // in the near tier of this node

	// told is the near TTL that the entry decided, which its record tells the other
	// nodes; 0: they go by their options.
	told time.Duration

	// ahead is how long before its end the value is to be refreshed.
	ahead time.Duration
}

// lives returns the lifetimes of the entry, cut at random where the options say so.
func (o *Options[V]) lives(e *Entry[V]) (l lifetimes, err error) {
	if e.TTL < 0 || e.NearTTL < 0 {
		return l, fmt.Errorf("nearcache: Entry: a TTL is negative: %v, %v", e.TTL, e.NearTTL)
	}
	for _, f := range []duration{{"TTL", e.TTL}, {"NearTTL", e.NearTTL}} {
		if err := f.tooLong("Entry"); err != nil {
			return l, err
		}
	}
	l = lifetimes{ttl: o.TTL, near: o.NearTTL, told: e.NearTTL}
	if e.TTL > 0 {
		l.ttl = e.TTL
	}
	if e.NearTTL > 0 {
		l.near = e.NearTTL
	}
	keep := o.jitter()
	l.ttl, l.near = share(l.ttl, keep), share(l.near, keep)
	l.near, l.ahead = min(l.near, l.ttl), o.ahead(l.ttl)
	return l, nil
}

// ahead returns how long before its end a value that lives for life is to be refreshed.
// For one that lives shorter than TTL that is half of its life at most, or the share
// that RefreshAhead is of TTL, if that is more: otherwise it would be refreshed as soon
// as it is there.
func (o *Options[V]) ahead(life time.Duration) time.Duration {
	if life >= o.TTL {
		return o.RefreshAhead
	}
	part := max(0.5, float64(o.RefreshAhead)/float64(o.TTL))
	return min(o.RefreshAhead, share(life, part))
}

// livesOf returns what is left of the lifetimes of the record found, the near one cut at
// random where the options say so. Its writer knew how long it was to live.
func (o *Options[V]) livesOf(found *shared.Found) lifetimes {
	l := lifetimes{ttl: found.Left, near: o.NearTTL, ahead: o.RefreshAhead}
	if found.Left == 0 { // it has no end
		l.ttl = math.MaxInt64
	}
	if found.NearTTL > 0 {
		l.near = found.NearTTL
	}
	if found.Ahead > 0 {
		l.ahead = min(l.ahead, found.Ahead)
	}
	l.near = min(share(l.near, o.jitter()), l.ttl)
	return l
}

// jitter returns the share of a lifetime that is left to it.
func (o *Options[V]) jitter() float64 {
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
