package nearcache

import (
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared/driver"
)

// newAbsent makes the near entry which says that there is no value.
func (c *Cache[V]) newAbsent(key string, stamp near.Stamp, rev driver.Revision) *near.Entry {
	e := newNamed[V](key)
	c.labelEmpty(e, stamp, rev)
	e.Extend(&near.Extra{Absent: true})
	return &e.Entry
}

// absentHere returns the entry which says that there is no value, as a load for this
// node only has found out, and its life: none if the options do not ask for it.
func (c *Cache[V]) absentHere(f *flight[V], most time.Duration) (*near.Entry, time.Duration) {
	if c.opts.NotFoundTTL == 0 || most <= 0 {
		return nil, 0
	}
	ttl := share(c.opts.NotFoundTTL, c.opts.jitter())
	return c.newAbsent(f.key, f.stamp, driver.Revision{}), min(ttl, c.opts.NearTTL, most)
}
