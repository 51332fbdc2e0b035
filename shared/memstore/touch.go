package memstore

import (
	"bytes"
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Touch implements [driver.Toucher].
func (s *Store) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(touches))
	for i := range touches {
		receipts[i] = s.touch(ctx, &touches[i])
	}
	return receipts
}

// touch is one atomic step.
func (s *Store) touch(ctx context.Context, t *driver.Touch) driver.Receipt {
	if err := ctx.Err(); err != nil {
		return driver.Receipt{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.closed:
		return driver.Receipt{Err: driver.ErrClosed}
	case late(t.NotAfter, now):
		return driver.Receipt{Now: now, Err: driver.ErrTooLate}
	}
	image := bytes.Clone(s.getLocked(t.Key, now)) // what readers were given stays as it was
	header, _ := driver.DecodeHeader(image)
	hard, ok := driver.Extend(image, now, t.TTL)
	if !ok || header.Revision != t.Revision {
		return driver.Receipt{Now: now, Err: driver.ErrNotFound}
	}
	s.items[t.Key] = item{image: image, expires: hard}
	return driver.Receipt{Now: now}
}
