package storetest_test

import (
	"context"

	"github.com/nearbus/nearbus/shared/driver"
)

// sweeping has sweeps done by sweep.
func (f *faulty) sweeping(sweep func(ctx context.Context, w driver.Write) driver.Receipt) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		_, old := f.peek(w.Key)
		if kindOf(w.Image) == driver.KindTombstone && old.Kind == driver.KindWatermark {
			return sweep(ctx, w)
		}
		return fill(ctx, w)
	}
}

// forgetsSwept remembers nothing of what it sweeps.
func forgetsSwept(f *faulty) {
	f.sweeping(func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Nonce != w.Expect {
			return driver.Receipt{Err: driver.ErrLeaseLost}
		}
		return f.write(ctx, w)
	})
}

// sweepsAnything sweeps whatever is there.
func sweepsAnything(f *faulty) {
	fill := f.fill
	f.sweeping(func(ctx context.Context, w driver.Write) driver.Receipt {
		_, old := f.peek(w.Key)
		w.Expect = old.Nonce
		return fill(ctx, w)
	})
}

// sweepsNothing says that it has swept.
func sweepsNothing(f *faulty) {
	f.sweeping(func(context.Context, driver.Write) driver.Receipt { return driver.Receipt{} })
}

// sweptIsAll gives every record the clock of what was swept.
func sweptIsAll(f *faulty) {
	f.changing(func(w *driver.Write) {
		if kindOf(w.Image) == driver.KindValue {
			swept, _ := f.Store.Swept(context.Background(), []string{w.Key})
			old, _ := driver.DecodeRecord(w.Image)
			old.Clock = max(old.Clock, swept[0])
			w.Image = old.Append(nil)
		}
	})
}

// tellsNothingSwept hides what was swept.
func tellsNothingSwept(f *faulty) { f.hidesSwept = true }

func (f *faulty) Swept(ctx context.Context, keys []string) ([]uint64, error) {
	if f.hidesSwept {
		return make([]uint64, len(keys)), nil
	}
	return f.Store.Swept(ctx, keys)
}
