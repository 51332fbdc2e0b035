package storetest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// revising replaces the revisions that receipts and readers are told.
func (f *faulty) revising(revise func(driver.Kind, driver.Revision) driver.Revision) {
	f.receipts(func(w driver.Write, r driver.Revision) driver.Revision { return revise(kindOf(w.Image), r) })
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for _, image := range images {
			if r, err := driver.DecodeHeader(image); err == nil {
				driver.StampRevision(image, revise(r.Kind, r.Revision))
			}
		}
		return images, err
	}
}

// receipts replaces the revisions that receipts tell.
func (f *faulty) receipts(revision func(driver.Write, driver.Revision) driver.Revision) {
	for _, method := range []*func(context.Context, driver.Write) driver.Receipt{&f.write, &f.fill} {
		inner := *method
		*method = func(ctx context.Context, w driver.Write) driver.Receipt {
			r := inner(ctx, w)
			if r.Err == nil {
				r.Revision = revision(w, r.Revision)
			}
			return r
		}
	}
}

func noRevision(f *faulty) {
	f.revising(func(driver.Kind, driver.Revision) driver.Revision { return driver.Revision{} })
}

func receiptOff(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := write(ctx, w)
		r.Revision.Number++
		return r
	}
}

func coarse(r driver.Revision) driver.Revision {
	return driver.Revision{Epoch: r.Epoch, Number: r.Number - r.Number%1000}
}

// milliseconds gives revisions by a clock that is too coarse.
func milliseconds(f *faulty) {
	f.revising(func(_ driver.Kind, r driver.Revision) driver.Revision { return coarse(r) })
}

func coarseWatermarks(f *faulty) {
	f.revising(func(kind driver.Kind, r driver.Revision) driver.Revision {
		if kind == driver.KindWatermark {
			return coarse(r)
		}
		return r
	})
}

func newEpochs(f *faulty) {
	f.revising(func(_ driver.Kind, r driver.Revision) driver.Revision {
		return driver.Revision{Epoch: r.Number, Number: r.Number}
	})
}

// perRecord counts on from the record that is there, or from the clock when
// none is.
func perRecord(f *faulty) {
	last := newNotes[uint64]()
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		image, _ := f.peek(w.Key)
		r := write(ctx, w)
		if image == nil {
			last.set(w.Key, 0)
		}
		r.Revision.Number = max(uint64(time.Now().UnixMicro()), last.get(w.Key)+1, w.Floor)
		last.set(w.Key, r.Revision.Number)
		return r
	}
}

// watermarksAnew counts watermarks from one.
func watermarksAnew(f *faulty) {
	last := newNotes[uint64]()
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		image, _ := f.peek(w.Key)
		r := write(ctx, w)
		if kindOf(w.Image) == driver.KindWatermark {
			if image == nil {
				last.set(w.Key, 0)
			}
			r.Revision.Number = last.get(w.Key) + 1
			last.set(w.Key, r.Revision.Number)
		}
		return r
	}
}

func deleteStartsAnew(f *faulty) {
	deleted := newNotes[bool]()
	f.receipts(func(w driver.Write, r driver.Revision) driver.Revision {
		if kindOf(w.Image) == driver.KindTombstone {
			deleted.set(w.Key, true)
		}
		if deleted.get(w.Key) {
			r.Number -= 1e12
		}
		return r
	})
}

// clocking sets the clock of watermarks anew.
func (f *faulty) clocking(clock func(old, wanted driver.Record) uint64) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		wanted, _ := driver.DecodeHeader(w.Image)
		_, old := f.peek(w.Key)
		w.Image = bytes.Clone(w.Image)
		binary.BigEndian.PutUint64(w.Image[driver.ClockOffset:], clock(old, wanted))
		if old.Kind == driver.KindWatermark {
			// Or the store behind would keep its clock.
			f.Store.Write(ctx, []driver.Write{{Key: w.Key, Image: (&driver.Record{Kind: driver.KindTombstone}).Append(nil)}})
		}
		return write(ctx, w)
	}
}

func takesAnyClock(f *faulty) {
	f.clocking(func(_, wanted driver.Record) uint64 { return wanted.Clock })
}

// clocksAsFloats compares clocks as numbers of 53 bits.
func clocksAsFloats(f *faulty) {
	f.clocking(func(old, wanted driver.Record) uint64 {
		if old.Kind == driver.KindWatermark && wanted.Kind == driver.KindWatermark && float64(old.Clock) > float64(wanted.Clock) {
			return old.Clock
		}
		return wanted.Clock
	})
}

func keepsEveryClock(f *faulty) {
	f.clocking(func(old, wanted driver.Record) uint64 { return max(old.Clock, wanted.Clock) })
}

// agesAnew gives a fill the revision of when it is stored.
func agesAnew(f *faulty) { f.changing(func(w *driver.Write) { w.Born.Number = 0 }) }

// fillsAnyEpoch takes a lease for one of now.
func fillsAnyEpoch(f *faulty) { f.changing(func(w *driver.Write) { w.Born.Epoch = 0 }) }

// agesBlindly believes whatever number it is told.
func agesBlindly(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := fill(ctx, w)
		if w.Born.Number > 0 {
			r.Revision.Number = w.Born.Number
		}
		return r
	}
}

func noFloor(f *faulty) { f.changing(func(w *driver.Write) { w.Floor = 0 }) }

// dayAhead passes over numbers that are far ahead, whatever they are of.
func dayAhead(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		late := uint64(time.Now().Add(24 * time.Hour).UnixMicro())
		image, old := f.peek(w.Key)
		if w.Floor >= late {
			w.Floor = 0
		}
		if image != nil && old.Kind == driver.KindWatermark && old.Revision.Number >= late {
			f.Plant(w.Key, nil)
		}
		return write(ctx, w)
	}
}

// carriesOn trusts the revision of whatever record is there.
func carriesOn(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Kind != 0 {
			w.Floor = max(w.Floor, old.Revision.Number+1)
		}
		return write(ctx, w)
	}
}

func noRepeat(f *faulty) {
	f.changing(func(w *driver.Write) {
		if _, old := f.peek(w.Key); old.Kind == driver.KindValue || old.Kind == driver.KindTombstone {
			w.Image = bytes.Clone(w.Image)
			binary.BigEndian.PutUint64(w.Image[driver.NonceOffset:], driver.NewNonce())
		}
	})
}

// repeatByValue takes an equal value for a repeated write.
func repeatByValue(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		old, header := f.peek(w.Key)
		if header.Kind == driver.KindValue && bytes.Equal(old[driver.HeaderSize:], w.Image[driver.HeaderSize:]) {
			return driver.Receipt{Revision: header.Revision}
		}
		return write(ctx, w)
	}
}

// repeatForEver remembers nonces longer than their records.
func repeatForEver(f *faulty) {
	seen := newNotes[driver.Receipt]()
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		id := w.Key + string(w.Image[driver.NonceOffset:driver.ClockOffset])
		if r := seen.get(id); r.Revision.Number != 0 {
			return r
		}
		r := write(ctx, w)
		seen.set(id, r)
		return r
	}
}

func noDeadline(f *faulty) { f.changing(func(w *driver.Write) { w.NotAfter = time.Time{} }) }

func noDeadlineOfLeases(f *faulty) {
	f.leasing(func(l *driver.Lease) { l.NotAfter = time.Time{} })
}

// lateStill refuses late writes and stores them all the same.
func lateStill(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := write(ctx, w)
		if errors.Is(r.Err, driver.ErrTooLate) {
			w.NotAfter = time.Time{}
			write(ctx, w)
		}
		return r
	}
}

// lateByCaller judges deadlines as if they were its own caller's timeout.
func lateByCaller(f *faulty) {
	f.changing(func(w *driver.Write) { w.NotAfter = w.NotAfter.Add(-2 * time.Hour) })
}

func ignoresContext(f *faulty) {
	read, write, acquire := f.read, f.write, f.acquire
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		return read(context.WithoutCancel(ctx), keys)
	}
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		return write(context.WithoutCancel(ctx), w)
	}
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		return acquire(context.WithoutCancel(ctx), l)
	}
}

var errFailed = errors.New("store failed")

func hidesContext(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		if err != nil {
			err = errFailed
		}
		return images, err
	}
}

// answersLate refuses an ended context after it did what was asked.
func answersLate(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := write(context.WithoutCancel(ctx), w)
		if ctx.Err() != nil {
			r.Err = ctx.Err()
		}
		return r
	}
}

func failsWhenOverlapping(f *faulty) {
	var running atomic.Int32
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		defer running.Add(-1)
		if running.Add(1) > 1 {
			return driver.Receipt{Err: errFailed}
		}
		time.Sleep(time.Microsecond)
		return write(ctx, w)
	}
}

// noTime does not learn the server's clock from its answers.
func noTime(f *faulty) {
	for _, method := range []*func(context.Context, driver.Write) driver.Receipt{&f.write, &f.fill} {
		inner := *method
		*method = func(ctx context.Context, w driver.Write) driver.Receipt {
			r := inner(ctx, w)
			r.Now = time.Time{}
			return r
		}
	}
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		grant := acquire(ctx, l)
		grant.Now = time.Time{}
		return grant
	}
}

// unordered tells revisions to readers, and to writers of watermarks only, as
// a store may whose server does not tell them.
func unordered(f *faulty) {
	f.receipts(func(w driver.Write, r driver.Revision) driver.Revision {
		if kindOf(w.Image) == driver.KindWatermark {
			return r
		}
		return driver.Revision{}
	})
}
