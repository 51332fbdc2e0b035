package simulate

import (
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// closed holds the caches of a life that were closed against what Cache.Close says: their methods
// return ErrClosed, and nothing of them is left near.
func (o *oracle) closed(l *life, start history.Moment) {
	for _, key := range []uint32{0, uint32(o.fleet.plan.Keys)} {
		for call, err := range l.askClosed(key) {
			if !errors.Is(err, nearcache.ErrClosed) {
				o.unclosed(l, start, fmt.Sprintf("%s of a closed cache: %v", call, err))
			}
		}
	}
	if left := l.library.Stats().Near.Entries; left != 0 {
		o.unclosed(l, start, fmt.Sprintf("%d values of closed caches are near", left))
	}
}

// askClosed returns what methods of the cache that has a key return.
func (l *life) askClosed(key uint32) map[Call]error {
	cache, ctx, name := l.cacheOf(key), l.fleet.context, keyName(key)
	_, fetched := cache.FetchEntry(ctx, name, l.loader(key))
	_, got := cache.Get(ctx, name)
	_, several := cache.GetMany(ctx, []string{name})
	all := map[Call]error{Fetch: fetched, Get: got, GetMany: several, Invalidate: cache.Invalidate(ctx, name), Clear: cache.Clear(ctx)}
	if l.fleet.plan.SourceLag == 0 {
		all[Touch] = cache.Touch(ctx, name, 0)
	}
	_, all[Warm] = cache.Warm(ctx, []string{name}, nearcache.WarmOptions{})
	if cache == l.companion {
		all[Refresh] = cache.Refresh(ctx, name)
	}
	return all
}

// notOpened is told of caches that could not be opened anew after they were closed.
func (o *oracle) notOpened(l *life, start history.Moment, err error) {
	o.unclosed(l, start, fmt.Sprintf("the caches were closed, and could not be opened anew: %v", err))
}

func (o *oracle) unclosed(l *life, start history.Moment, what string) {
	o.violated(Violation{Promise: "Close", What: what, Node: l.node, Life: l.number, Read: history.Record{Start: start, End: now()}})
}
