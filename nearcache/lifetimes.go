package nearcache

import (
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared"
)

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

// aheadOf is ahead for the record found. Its writer knew how long it was to live.
func (o *Options[V]) aheadOf(found *shared.Found) time.Duration {
	if found.Ahead > 0 {
		return min(o.RefreshAhead, found.Ahead)
	}
	return o.RefreshAhead
}

// toldAhead is what the record of a value with these lifetimes says of ahead: nothing, if
// readers know it by their options.
func (o *settings) toldAhead(l lifetimes) time.Duration {
	if l.ahead < o.RefreshAhead {
		return l.ahead
	}
	return 0
}

// nearLifeOf returns how long the value of the record found may be near, cut at random
// where the options say so.
func (o *Options[V]) nearLifeOf(found *shared.Found) time.Duration {
	life := o.NearTTL
	if found.NearTTL > 0 {
		life = found.NearTTL
	}
	life = share(life, o.jitter())
	if found.Left > 0 {
		life = min(life, found.Left)
	}
	return life
}
