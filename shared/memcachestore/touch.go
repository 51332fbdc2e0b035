package memcachestore

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Touch implements [driver.Toucher]. The record has its ends in itself, so it is stored once
// more, by a cas that no other writer comes before: it gets another number, and with it
// another revision.
func (s *Store) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(touches))
	each(len(touches), func(i int) { receipts[i] = s.touch(ctx, &touches[i]) })
	return receipts
}

func (s *Store) touch(ctx context.Context, t *driver.Touch) driver.Receipt {
	err := s.swap(ctx, "touch", t.Key, t.NotAfter, func(old *stored) (change, error) {
		if old.image == nil || old.item.CasID != t.Revision.Number || t.Revision.Epoch != 0 {
			return change{}, driver.ErrNotFound
		}
		now := time.Now()
		hard, ok := driver.Extend(old.image, now, t.TTL)
		if !ok {
			return change{}, driver.ErrNotFound
		}
		driver.StampRevision(old.image, driver.Revision{}) // which no record has that is no watermark
		left := time.Duration(0)
		if !hard.IsZero() {
			left = max(1, hard.Sub(now))
		}
		return change{old.image, left}, nil
	})
	return driver.Receipt{Now: time.Now(), Err: err}
}
