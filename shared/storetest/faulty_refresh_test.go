package storetest_test

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// refreshing replaces what becomes of fills that expect a record.
func (f *faulty) refreshing(do func(ctx context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool)) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if w.Expect != 0 {
			_, old := f.peek(w.Key)
			if r, done := do(ctx, w, old); done {
				return r
			}
		}
		return fill(ctx, w)
	}
}

// plain writes w as if nothing had been expected.
func (f *faulty) plain(ctx context.Context, w driver.Write) driver.Receipt {
	w.Expect = 0
	return f.write(ctx, w)
}

func refreshesLeasesOnly(f *faulty) {
	f.changing(func(w *driver.Write) { w.Expect = 0 })
}

func refreshesAnything(f *faulty) {
	f.refreshing(func(ctx context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool) {
		return f.plain(ctx, w), old.Kind != 0 && old.Kind != driver.KindLease
	})
}

func refreshesAbsent(f *faulty) {
	f.refreshing(func(ctx context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool) {
		if old.Kind != 0 {
			return driver.Receipt{}, false
		}
		return f.plain(ctx, w), true
	})
}

func refreshesValuesOnly(f *faulty) {
	f.refreshing(func(_ context.Context, _ driver.Write, old driver.Record) (driver.Receipt, bool) {
		return driver.Receipt{Err: driver.ErrLeaseLost}, old.Kind != driver.KindValue
	})
}

// refreshesRace looks and refreshes in two steps.
func refreshesRace(f *faulty) {
	f.refreshing(func(ctx context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool) {
		if old.Nonce != w.Expect {
			return driver.Receipt{}, false
		}
		time.Sleep(time.Millisecond) // lets a write come in between
		return f.plain(ctx, w), true
	})
}

func refusesRepeats(f *faulty) {
	f.refreshing(func(_ context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool) {
		return driver.Receipt{Err: driver.ErrLeaseLost}, old.Nonce != w.Expect
	})
}

// keeping replaces what becomes of writes that keep the old value.
func (f *faulty) keeping(do func(ctx context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool)) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		if w.KeepStale {
			_, old := f.peek(w.Key)
			if r, done := do(ctx, w, old); done {
				return r
			}
		}
		return write(ctx, w)
	}
}

func keepsNoStale(f *faulty) {
	f.changing(func(w *driver.Write) { w.KeepStale = false })
}

func keepsOnce(f *faulty) {
	f.changing(func(w *driver.Write) {
		_, old := f.peek(w.Key)
		w.KeepStale = w.KeepStale && old.Kind != driver.KindStale
	})
}

// keepsLive leaves the value as it is.
func keepsLive(f *faulty) {
	f.keeping(func(_ context.Context, _ driver.Write, old driver.Record) (driver.Receipt, bool) {
		return driver.Receipt{Revision: old.Revision, Now: time.Now()}, old.Kind == driver.KindValue
	})
}

// keepsAnew writes what it keeps as any other write is, with the lifetime of
// that.
func keepsAnew(f *faulty) {
	f.changing(func(w *driver.Write) {
		image, old := f.peek(w.Key)
		if kept, ok := driver.StampStale(image, w.Image, old.Revision); ok && w.KeepStale {
			w.Image, w.KeepStale = kept, false
		}
	})
}

// keepsForGood keeps whatever is there.
func keepsForGood(f *faulty) {
	f.changing(func(w *driver.Write) {
		_, old := f.peek(w.Key)
		if kindOf(w.Image) == driver.KindTombstone && old.Kind == driver.KindStale {
			w.KeepStale = true
		}
	})
}

func keepsWhatIsNoValue(f *faulty) {
	f.keeping(func(_ context.Context, _ driver.Write, old driver.Record) (driver.Receipt, bool) {
		return driver.Receipt{Revision: old.Revision, Now: time.Now()}, old.Kind == driver.KindLease || old.Kind == driver.KindNotFound
	})
}

func keepsQuietly(f *faulty) {
	f.keeping(func(ctx context.Context, w driver.Write, old driver.Record) (driver.Receipt, bool) {
		if old.Kind != driver.KindValue {
			return driver.Receipt{}, false
		}
		image, _ := f.peek(w.Key)
		kept, _ := driver.StampStale(image, w.Image, old.Revision)
		return f.Store.Fill(ctx, []driver.Write{{Key: w.Key, Image: kept, TTL: time.Hour, Expect: old.Nonce}})[0], true
	})
}

// staleIsLive takes what is kept for a value.
func staleIsLive(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		if image, old := f.peek(l.Key); old.Kind == driver.KindStale {
			return driver.Grant{Status: driver.LeasePresent, Image: image, Now: time.Now()}
		}
		return acquire(ctx, l)
	}
}

func leasesNotFound(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		if image, old := f.peek(l.Key); old.Kind == driver.KindNotFound && len(l.Discard) == 0 {
			l.Discard = image
		}
	})
}
