package nearcache

import (
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// recency tells how long ago the newest invalidation of a key was that the shared tier
// knows of. The zero recency is that none is known.
type recency struct {
	known bool
	ago   time.Duration // by the server's clock, when it was asked
	heard time.Time     // when it had answered
}

// now returns how long ago it is now: not more than it really is.
func (r recency) now() time.Duration { return r.ago + time.Since(r.heard) }

// newer returns the newer of two.
func (r recency) newer(o recency) recency {
	if !o.known || r.known && r.now() <= o.now() {
		return r
	}
	return o
}

// leastTime is the least number that is a time: those below are of no invalidation, see
// hold.released.
const leastTime = 1 << 40

// recencyOf tells it of a number that is a time of the server's clock, in microseconds.
func recencyOf(number uint64, server, heard time.Time) recency {
	if number < leastTime {
		return recency{}
	}
	return recency{known: true, ago: max(0, server.Sub(time.UnixMicro(int64(number)))), heard: heard}
}

// recencyIn tells it of the record that a load is to replace. A record has the revision of
// what made it, and a lease the revision of what it replaced. A value is one that this node
// does not believe or cannot read: nothing is known to be newer than its write or load.
// Where revisions are no times, it may have been just now.
func recencyIn(r *driver.Record, server, heard time.Time) recency {
	switch {
	case r.Kind == 0 || r.Kind == driver.KindWatermark:
		return recency{}
	case r.Revision.Epoch == 0 && r.Revision.Number != 0 || server.IsZero():
		return recency{known: true, heard: heard}
	}
	return recencyOf(r.Revision.Number, server, heard)
}

// lag says by which clock a load under a lease is judged, and what it is judged by.
type lag struct {
	ended  recency
	server time.Time // the server's clock when the lease was granted
	heard  time.Time // when that was heard
	began  time.Time // when the load began
	young  bool      // it began within Options.SourceLag of the newest invalidation
}

// lagOf judges a load that is to replace the record replaced, under a lease that was
// granted just now. miss is what a read found before.
func (k *keyspace) lagOf(got *shared.Claimed, replaced *driver.Record, clock uint64, miss *shared.Found) lag {
	l := lag{server: got.Now, heard: time.Now()}
	l.ended = recencyIn(replaced, l.server, l.heard).newer(recencyOf(clock, l.server, l.heard))
	if miss != nil && len(miss.Slots) > 0 {
		if at := k.tags.Newest(miss.Slots); at > miss.TagClock {
			l.ended = l.ended.newer(recencyOf(at, l.server, l.heard))
		}
	}
	return l
}

// beginLag says that the load begins.
func (k *keyspace) beginLag(l *lag) {
	l.began = time.Now()
	l.young = l.ended.known && l.ended.now() < k.opts.SourceLag
}

// youngByTags is what young is, once the tags of the values are known. Watermarks are
// read if any tag was invalidated within SourceLag, and those of these tags are not known.
func (c *Cache[V]) youngByTags(ctx context.Context, all []ending[V]) {
	if c.opts.SourceLag == 0 {
		return
	}
	clock, _, _ := c.keys.tags.Get()
	var suspects []*ending[V]
	var slots []uint32
	for i := range all {
		e := &all[i]
		if e.err == nil && len(e.entry.Tags) > 0 && !e.young && e.within(clock, c.opts.SourceLag) {
			suspects, slots = append(suspects, e), append(slots, generation.SlotsOf(e.entry.Tags)...)
		}
	}
	if len(suspects) == 0 {
		return
	}
	if c.node.hears() {
		slots = c.keys.tags.Unknown(slots)
	}
	var failure error
	if len(slots) > 0 {
		if _, failure = c.keys.readSlots(ctx, slots); failure != nil {
			c.keys.sharedErrors.Add(1)
		}
	}
	for _, e := range suspects {
		e.young = failure != nil || e.within(c.keys.tags.Newest(generation.SlotsOf(e.entry.Tags)), c.opts.SourceLag)
	}
}

// within reports whether the load began less than d after a time of the server's clock.
func (l *lag) within(number uint64, d time.Duration) bool {
	r := recencyOf(number, l.server.Add(l.began.Sub(l.heard)), l.began)
	return r.known && r.ago < d
}

// limit cuts lifetimes of what may be older than the newest invalidation of its key. It is
// not refreshed before its end: by then, the source has what was written before.
func (l lifetimes) limit(d time.Duration) lifetimes {
	l.ttl, l.near, l.ahead = min(l.ttl, d), min(l.near, d), min(l.ahead, time.Millisecond)
	return l
}

// sinceKey is the key of a recency in the context of a loader.
type sinceKey struct{}

// SinceInvalidated returns how long ago, at least, the key that a loader loads was
// invalidated, to be called with the loader's context. A loader that reads a replica of
// its database asks the primary while that is less than the replica may be behind: what
// the replica answers may be from before the invalidation. See [Options].SourceLag for
// those that cannot.
//
// It counts what the shared tier knows of, by the clock of its server: Invalidate and
// Delete of the key by any node for shared.Options.TombstoneTTL, Clear, and
// InvalidateTags where the value that was ended is still there. Where the load replaces a
// value that the node does not believe or cannot read, that value counts as an
// invalidation. For several keys it is the newest of any of them. Memcached does not tell when a key was invalidated: it is
// then taken to have been as the load was permitted. ok is false if no invalidation is
// known: none was, the shared tier is down, another node holds the lease of the key, or
// there is no shared tier.
func SinceInvalidated(ctx context.Context) (ago time.Duration, ok bool) {
	r, _ := ctx.Value(sinceKey{}).(recency)
	if !r.known {
		return 0, false
	}
	return r.now(), true
}

// withRecency is the context of a loader. It always says something, since the context of
// a caller may be that of another loader.
func withRecency(ctx context.Context, r recency) context.Context {
	return context.WithValue(ctx, sinceKey{}, r)
}

// validateLag checks Options.SourceLag against what stands below the cache.
func (o *Options[V]) validateLag(n *Node) error {
	switch {
	case o.SourceLag == 0:
		return nil
	case n.tier == nil:
		return fmt.Errorf("nearcache: Options.SourceLag is %v, and the node has no shared tier", o.SourceLag)
	case o.SourceLag > n.tier.TombstoneTTL():
		return fmt.Errorf("nearcache: Options.SourceLag %v is longer than shared.Options.TombstoneTTL %v, for which an invalidation is known",
			o.SourceLag, n.tier.TombstoneTTL())
	}
	return nil
}
