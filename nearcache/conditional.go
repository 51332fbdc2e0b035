package nearcache

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// previousKey is the key of the previous value in the context of a loader.
type previousKey[V any] struct{}

// Previous returns the old value that a loader is to replace, to be called with
// the loader's context: one that is refreshed ahead of its end, or that is kept
// past it by Options.FailSafe. A loader that finds it unchanged in the source,
// by a version or an ETag in it, returns an Entry with NotModified. There is none
// for the loader of FetchMany, nor while the shared tier is down. The value is
// the loader's own.
func Previous[V any](ctx context.Context) (v V, ok bool) {
	if p, _ := ctx.Value(previousKey[V]{}).(*V); p != nil {
		return *p, true
	}
	return v, false
}

// withPrevious is the context of a loader. It always says something, since the
// context of a caller may be that of another loader. What was invalidated with its
// cache or by a tag is no previous value.
func (c *Cache[V]) withPrevious(ctx context.Context, found *shared.Found) context.Context {
	var previous *V
	if found != nil {
		record := *found
		record.Kind, record.Err = driver.KindValue, nil
		e, err := c.decode("", &record)
		if _, live := c.keys.tagsLive(&record); err == nil && live {
			previous = &e.value
		}
	}
	return context.WithValue(ctx, previousKey[V]{}, previous)
}

var errNothingPrevious = errors.New("nearcache: the loader answered NotModified, and there is no previous value")

// conclude makes the entry that a loader returned whole.
func (e *Entry[V]) conclude(ctx context.Context) error {
	if !e.NotModified {
		return nil
	}
	v, ok := Previous[V](ctx)
	if !ok {
		return errNothingPrevious
	}
	e.Value = v
	return nil
}

// checkWritten refuses what only a loader may say.
func (e *Entry[V]) checkWritten() error {
	if e.NoStore || e.NotModified {
		return fmt.Errorf("nearcache: Entry: NoStore is %t and NotModified %t, which are for loaders", e.NoStore, e.NotModified)
	}
	return nil
}
