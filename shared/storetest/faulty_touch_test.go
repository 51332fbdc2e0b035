package storetest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// touching has every touch pass through change first.
func (f *faulty) touching(change func(*driver.Touch)) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		change(&t)
		return touch(ctx, t)
	}
}

func touchesNothing(f *faulty) {
	f.touch = func(context.Context, driver.Touch) driver.Receipt { return driver.Receipt{} }
}

func touchesAnything(f *faulty) {
	f.touching(func(t *driver.Touch) {
		_, old := f.peek(t.Key)
		t.Revision = old.Revision
	})
}

// touchesByWriting stores the value once more, as a write.
func touchesByWriting(f *faulty) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		image, old := f.peek(t.Key)
		r := touch(ctx, t)
		if r.Err != nil {
			return r
		}
		binary.BigEndian.PutUint64(image[driver.NonceOffset:], driver.NewNonce())
		left := time.Until(time.UnixMilli(old.Hard))
		return f.write(ctx, driver.Write{Key: t.Key, Image: image, TTL: max(t.TTL, left)})
	}
}

// touchesInTwoSteps stores the value once more, whatever came in between.
func touchesInTwoSteps(f *faulty) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		image, old := f.peek(t.Key)
		if old.Revision != t.Revision {
			return touch(ctx, t)
		}
		time.Sleep(time.Millisecond)
		return f.write(ctx, driver.Write{Key: t.Key, Image: image, TTL: t.TTL})
	}
}

// touchesTheEnd gives the very end, also an earlier one.
func touchesTheEnd(f *faulty) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		r := touch(ctx, t)
		if image, _ := f.peek(t.Key); r.Err == nil {
			binary.BigEndian.PutUint64(image[driver.StampOffset+24:], uint64(time.Now().Add(t.TTL).UnixMilli()))
			f.Plant(t.Key, image)
		}
		return r
	}
}

// touchesHardExpiry leaves the soft one where it was.
func touchesHardExpiry(f *faulty) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		_, before := f.peek(t.Key)
		r := touch(ctx, t)
		if image, _ := f.peek(t.Key); r.Err == nil && before.Soft != 0 {
			binary.BigEndian.PutUint64(image[driver.StampOffset+16:], uint64(before.Soft))
			f.Plant(t.Key, image)
		}
		return r
	}
}

// touchesWhatEnded knows no soft expiry.
func touchesWhatEnded(f *faulty) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		image, old := f.peek(t.Key)
		if old.Kind == driver.KindValue && old.Revision == t.Revision && old.Soft != 0 && old.Soft <= time.Now().UnixMilli() {
			binary.BigEndian.PutUint64(image[driver.StampOffset+16:], uint64(time.Now().Add(t.TTL).UnixMilli()))
			f.Plant(t.Key, image)
			return driver.Receipt{}
		}
		return touch(ctx, t)
	}
}

func touchesLate(f *faulty) { f.touching(func(t *driver.Touch) { t.NotAfter = time.Time{} }) }

func journalsTouches(f *faulty) {
	touch := f.touch
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		r := touch(ctx, t)
		if r.Err == nil {
			f.write(ctx, driver.Write{Key: "other", Image: (&driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}).Append(nil), TTL: time.Minute})
		}
		return r
	}
}

// touchesFailTogether gives the error of one touch to all.
func touchesFailTogether(f *faulty) {
	f.touches = func(ctx context.Context, touches []driver.Touch) []driver.Receipt {
		receipts := each(ctx, touches, f.touch)
		var all error
		for _, r := range receipts {
			all = errors.Join(all, r.Err)
		}
		for i := range receipts {
			receipts[i].Err = all
		}
		return receipts
	}
}
