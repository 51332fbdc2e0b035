package shared

import (
	"context"
	"fmt"

	"github.com/nearbus/nearbus/shared/driver"
)

// Peek is [Tier.Read] for people who look at what is stored: it makes one attempt, of
// [Options].Timeout at most, does not go through the breaker, and counts nothing. Of a record
// whose value cannot be decompressed, the result has all but the value beside the error.
func (t *Tier) Peek(ctx context.Context, keys []string) ([]Found, error) {
	names, err := t.checkAll(keys)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	found := make([]Found, len(names))
	_, err = t.once(ctx, func(ctx context.Context) (bool, error) {
		images, heads, err := t.read(ctx, names)
		unread, partial := partOf(err, len(images))
		if err != nil && !partial {
			return false, err
		}
		now, _ := t.clock.now()
		for i, image := range images {
			if partial && unread[i] != nil {
				found[i].Err = fmt.Errorf("%w: %w", ErrUnread, unread[i])
				continue
			}
			found[i].Head = heads[i]
			_ = t.find(image, &found[i], now) // the result says it
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Recall returns the newest entries of the journal that key belongs to, the newest first, at
// most limit: see [driver.Recaller]. It is for people who look, as [Tier.Peek] is. The error is
// [driver.ErrNoJournal] if the store has none that can be read so, [ErrInvalidKey],
// [ErrClosed], or that of the store.
func (t *Tier) Recall(ctx context.Context, key string, limit int) ([]driver.JournalEntry, error) {
	name, err := t.check(key)
	if err != nil {
		return nil, err
	}
	recaller, ok := t.store.(driver.Recaller)
	if !ok || t.journal == nil {
		return nil, driver.ErrNoJournal
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	return recaller.Recall(ctx, t.journal.Partition(name), limit)
}
