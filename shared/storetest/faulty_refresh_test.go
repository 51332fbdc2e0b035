package storetest_test

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// refreshing replaces what becomes of fills that expect a record.
func (f *faulty) refreshing(do func(ctx context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool)) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
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
func (f *faulty) plain(ctx context.Context, w shared.Write) shared.Receipt {
	w.Expect = 0
	return f.write(ctx, w)
}

func refreshesLeasesOnly(f *faulty) {
	f.changing(func(w *shared.Write) { w.Expect = 0 })
}

func refreshesAnything(f *faulty) {
	f.refreshing(func(ctx context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool) {
		return f.plain(ctx, w), old.Kind != 0 && old.Kind != shared.KindLease
	})
}

func refreshesAbsent(f *faulty) {
	f.refreshing(func(ctx context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool) {
		if old.Kind != 0 {
			return shared.Receipt{}, false
		}
		return f.plain(ctx, w), true
	})
}

func refreshesValuesOnly(f *faulty) {
	f.refreshing(func(_ context.Context, _ shared.Write, old shared.Record) (shared.Receipt, bool) {
		return shared.Receipt{Err: shared.ErrLeaseLost}, old.Kind != shared.KindValue
	})
}

// refreshesRace looks and refreshes in two steps.
func refreshesRace(f *faulty) {
	f.refreshing(func(ctx context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool) {
		if old.Nonce != w.Expect {
			return shared.Receipt{}, false
		}
		time.Sleep(time.Millisecond) // lets a write come in between
		return f.plain(ctx, w), true
	})
}

func refusesRepeats(f *faulty) {
	f.refreshing(func(_ context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool) {
		return shared.Receipt{Err: shared.ErrLeaseLost}, old.Nonce != w.Expect
	})
}

// keeping replaces what becomes of writes that keep the old value.
func (f *faulty) keeping(do func(ctx context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool)) {
	write := f.write
	f.write = func(ctx context.Context, w shared.Write) shared.Receipt {
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
	f.changing(func(w *shared.Write) { w.KeepStale = false })
}

func keepsOnce(f *faulty) {
	f.changing(func(w *shared.Write) {
		_, old := f.peek(w.Key)
		w.KeepStale = w.KeepStale && old.Kind != shared.KindStale
	})
}

// keepsLive leaves the value as it is.
func keepsLive(f *faulty) {
	f.keeping(func(_ context.Context, _ shared.Write, old shared.Record) (shared.Receipt, bool) {
		return shared.Receipt{Revision: old.Revision, Now: time.Now()}, old.Kind == shared.KindValue
	})
}

// keepsAnew writes what it keeps as any other write is, with the lifetime of
// that.
func keepsAnew(f *faulty) {
	f.changing(func(w *shared.Write) {
		image, old := f.peek(w.Key)
		if kept, ok := shared.StampStale(image, w.Image, old.Revision); ok && w.KeepStale {
			w.Image, w.KeepStale = kept, false
		}
	})
}

// keepsForGood keeps whatever is there.
func keepsForGood(f *faulty) {
	f.changing(func(w *shared.Write) {
		_, old := f.peek(w.Key)
		if kindOf(w.Image) == shared.KindTombstone && old.Kind == shared.KindStale {
			w.KeepStale = true
		}
	})
}

func keepsWhatIsNoValue(f *faulty) {
	f.keeping(func(_ context.Context, _ shared.Write, old shared.Record) (shared.Receipt, bool) {
		return shared.Receipt{Revision: old.Revision, Now: time.Now()}, old.Kind == shared.KindLease || old.Kind == shared.KindNotFound
	})
}

func keepsQuietly(f *faulty) {
	f.keeping(func(ctx context.Context, w shared.Write, old shared.Record) (shared.Receipt, bool) {
		if old.Kind != shared.KindValue {
			return shared.Receipt{}, false
		}
		image, _ := f.peek(w.Key)
		kept, _ := shared.StampStale(image, w.Image, old.Revision)
		return f.Store.Fill(ctx, []shared.Write{{Key: w.Key, Image: kept, TTL: time.Hour, Expect: old.Nonce}})[0], true
	})
}

// staleIsLive takes what is kept for a value.
func staleIsLive(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		if image, old := f.peek(l.Key); old.Kind == shared.KindStale {
			return shared.Grant{Status: shared.LeasePresent, Image: image, Now: time.Now()}
		}
		return acquire(ctx, l)
	}
}

func leasesNotFound(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		if image, old := f.peek(l.Key); old.Kind == shared.KindNotFound && len(l.Discard) == 0 {
			l.Discard = image
		}
	})
}
