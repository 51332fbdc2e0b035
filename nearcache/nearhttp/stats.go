package nearhttp

import "sync/atomic"

// Stats counts what a Cache did. What is stored, loaded and evicted, the cache of pages counts.
type Stats struct {
	Served   uint64 // requests answered with a stored page
	Stale    uint64 // of these, those whose page was old
	Made     uint64 // calls of a handler for a page that might be shared
	Bypassed uint64 // requests that did not touch the cache
	Passed   uint64 // requests for pages that are not to be shared
	Failures uint64 // requests that the cache failed, and the handler answered

	Private  uint64 // pages that were made and say that they are not to be shared
	Varied   uint64 // pages that depend on a header which Options.Vary does not have
	TooLarge uint64 // pages larger than Options.MaxBody, or with more than 64 KiB of headers
	Endless  uint64 // pages that were flushed, have trailers or are event streams
	Unfit    uint64 // pages of handlers that ended early

	Uninvalidated uint64 // changes by other methods whose URL could not be invalidated at once; its node goes on trying
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	return Stats{
		Served: c.served.Load(), Stale: c.stale.Load(), Made: c.made.Load(),
		Bypassed: c.bypassed.Load(), Passed: c.passed.Load(), Failures: c.failures.Load(),
		Private: c.private.Load(), Varied: c.varied.Load(), TooLarge: c.tooLarge.Load(), Endless: c.endless.Load(), Unfit: c.unfit.Load(),
		Uninvalidated: c.uninvalidated.Load(),
	}
}

type counters struct {
	served, stale, made, bypassed, passed, failures atomic.Uint64
	private, varied, tooLarge, endless, unfit       atomic.Uint64
	uninvalidated                                   atomic.Uint64
}

// refused counts a page that is not to be shared.
func (c *counters) refused(why string) {
	switch why {
	case passPrivate:
		c.private.Add(1)
	case passVary:
		c.varied.Add(1)
	case passTooLarge:
		c.tooLarge.Add(1)
	case passEndless:
		c.endless.Add(1)
	default:
		c.unfit.Add(1)
	}
}
