package nearcache

import (
	"errors"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
)

// useAbsent takes the record found as the result of f if it says that the source
// has no value.
func (c *Cache[V]) useAbsent(f *flight[V], found *shared.Found) bool {
	clock, _, _ := c.clock.get()
	if c.opts.NotFoundTTL == 0 || found.Clock < clock {
		return false
	}
	c.sharedHits.Add(1)
	f.absent, f.fresh = true, true
	life := share(c.opts.NearTTL, c.opts.jitter())
	if found.Left > 0 {
		life = min(life, found.Left)
	}
	e := c.newAbsent(f.key, f.stamp.Limit(c.clockRead()), found.Revision)
	e.FromShared = true
	c.space.Install(f.key, f.hash, e, c.nearLife(life))
	return true
}

// newAbsent makes the near entry which says that there is no value.
func (c *Cache[V]) newAbsent(key string, stamp near.Stamp, rev shared.Revision) *near.Entry {
	e := newNamed[V](key)
	c.labelEmpty(e, stamp, rev)
	e.Extend(&near.Extra{Absent: true})
	return &e.Entry
}

// loadedAbsent installs what a load has found out: that there is no value.
func (c *Cache[V]) loadedAbsent(f *flight[V], rev shared.Revision, life time.Duration) {
	c.space.Install(f.key, f.hash, c.newAbsent(f.key, f.stamp, rev), c.nearLife(life))
}

// noValueHere ends a load that is for this node only and failed with err. That
// there is no value is kept near, if the options say so.
func (c *Cache[V]) noValueHere(f *flight[V], life time.Duration, err error) error {
	if c.opts.NotFoundTTL > 0 && life > 0 && errors.Is(err, ErrNotFound) {
		ttl := share(c.opts.NotFoundTTL, c.opts.jitter())
		c.loadedAbsent(f, shared.Revision{}, min(ttl, c.opts.NearTTL, life))
	}
	return err
}
