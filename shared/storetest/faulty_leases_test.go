package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// leasing changes every request for a lease.
func (f *faulty) leasing(change func(*driver.Lease)) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		change(&l)
		return acquire(ctx, l)
	}
}

func grantsTwice(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		grant := acquire(ctx, l)
		if grant.Status == driver.LeaseHeld {
			grant.Status = driver.LeaseGranted
		}
		return grant
	}
}

// grantsRace looks and writes in two steps.
func grantsRace(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		if image, _ := f.peek(l.Key); image != nil {
			return acquire(ctx, l)
		}
		time.Sleep(time.Millisecond) // lets the others look as well
		f.Store.Write(ctx, []driver.Write{{Key: l.Key, Image: l.Image, TTL: l.TTL}})
		return driver.Grant{Status: driver.LeaseGranted}
	}
}

// hidesReplaced says nothing of what a lease replaced.
func hidesReplaced(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		grant := acquire(ctx, l)
		if grant.Status == driver.LeaseGranted {
			grant.Image = nil
		}
		return grant
	}
}

// forgetsDeletes gives what gives a lease back a revision of its own.
func forgetsDeletes(f *faulty) {
	f.changing(func(w *driver.Write) { w.Born = driver.Revision{} })
}

func leaseForEver(f *faulty) { f.leasing(func(l *driver.Lease) { l.TTL = 0 }) }

func refusesHolder(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		if _, old := f.peek(l.Key); old.Kind == driver.KindLease && !l.Renew && old.Clock >= l.MinClock {
			return driver.Grant{Status: driver.LeaseHeld}
		}
		return acquire(ctx, l)
	}
}

func renewsNothing(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		if _, old := f.peek(l.Key); l.Renew && old.Kind == driver.KindLease && old.Nonce == nonceOf(l.Image) {
			return driver.Grant{Status: driver.LeaseGranted}
		}
		return acquire(ctx, l)
	}
}

func renewsAnything(f *faulty) { f.leasing(func(l *driver.Lease) { l.Renew = false }) }

// renewsRace looks and renews in two steps.
func renewsRace(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		if _, old := f.peek(l.Key); l.Renew && old.Kind == driver.KindLease {
			time.Sleep(time.Millisecond) // lets a write come in between
			r := f.Store.Write(ctx, []driver.Write{{Key: l.Key, Image: l.Image, TTL: l.TTL}})[0]
			return driver.Grant{Status: driver.LeaseGranted, Err: r.Err}
		}
		return acquire(ctx, l)
	}
}

func leasesValues(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		if !l.Renew && len(l.Discard) == 0 {
			if image, header := f.peek(l.Key); header.Kind == driver.KindValue {
				l.Discard = image
			}
		}
	})
}

func presentWithoutImage(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		grant := acquire(ctx, l)
		grant.Image = nil
		return grant
	}
}

func tombstonesHold(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		if _, old := f.peek(l.Key); old.Kind == driver.KindTombstone && !l.Renew {
			return driver.Grant{Status: driver.LeaseHeld}
		}
		return acquire(ctx, l)
	}
}

func leasesWatermarks(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		if image, header := f.peek(l.Key); header.Kind == driver.KindWatermark && header.Clock < l.MinClock {
			l.Discard = image
		}
	})
}

func noMinClock(f *faulty) { f.leasing(func(l *driver.Lease) { l.MinClock = 0 }) }

// roundClock keeps as many digits of a clock as a number in Lua's own notation.
func roundClock(f *faulty) {
	f.leasing(func(l *driver.Lease) { l.MinClock = l.MinClock / 100 * 100 })
}

func noDiscard(f *faulty) { f.leasing(func(l *driver.Lease) { l.Discard = nil }) }

func discardsAnything(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		if image, _ := f.peek(l.Key); len(l.Discard) > 0 {
			l.Discard = image
		}
	})
}

func leasesForeign(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		if image, header := f.peek(l.Key); image != nil && header.Kind == 0 {
			l.Discard = image
		}
	})
}

func leasesNewer(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		image, _ := f.peek(l.Key)
		if _, err := driver.DecodeHeader(image); errors.Is(err, driver.ErrNewerFormat) {
			f.clear(l.Key)
		}
	})
}

func fillsUnchecked(f *faulty) { f.fill = f.write }

func fillsAnyLease(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Kind == driver.KindLease {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

func fillsAbsent(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if image, _ := f.peek(w.Key); image == nil {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

// fillsTombstones forgets that a delete ends a lease.
func fillsTombstones(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Kind == driver.KindTombstone {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

// leasesApart keeps leases beside the values, where writes do not end them.
func leasesApart(f *faulty) {
	tokens := newNotes[uint64]()
	acquire, fill := f.acquire, f.fill
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		grant := acquire(ctx, l)
		if grant.Status == driver.LeaseGranted {
			tokens.set(l.Key, nonceOf(l.Image))
		}
		return grant
	}
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if tokens.get(w.Key) != nonceOf(w.Image) {
			return fill(ctx, w)
		}
		tokens.set(w.Key, 0)
		return f.write(ctx, w)
	}
}

// fillsRace looks and fills in two steps.
func fillsRace(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Kind == driver.KindLease && old.Nonce == nonceOf(w.Image) {
			time.Sleep(time.Millisecond) // lets a write come in between
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

func fillsNothing(f *faulty) {
	f.fill = func(context.Context, driver.Write) driver.Receipt { return driver.Receipt{} }
}

func fillsValuesOnly(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if kindOf(w.Image) != driver.KindValue {
			return driver.Receipt{Err: driver.ErrLeaseLost}
		}
		return fill(ctx, w)
	}
}

func leaseIsValue(f *faulty) {
	f.leasing(func(l *driver.Lease) {
		l.Image = bytes.Clone(l.Image)
		l.Image[driver.KindOffset] = byte(driver.KindValue)
	})
}

// foreign reports whether what is under key is no record of any version.
func (f *faulty) foreign(key string) bool {
	image, _ := f.peek(key)
	_, err := driver.DecodeHeader(image)
	return image != nil && errors.Is(err, driver.ErrCorrupt)
}

func hidesForeign(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i, key := range keys[:len(images)] {
			if f.foreign(key) {
				images[i] = nil
			}
		}
		return images, err
	}
}

func sparesForeign(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		if f.foreign(w.Key) {
			return driver.Receipt{Err: errFailed}
		}
		return write(ctx, w)
	}
}

// fillsForeign looks at kind and nonce only.
func fillsForeign(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		if image, _ := f.peek(w.Key); len(image) >= driver.HeaderSize && kindOf(image) == driver.KindLease && nonceOf(image) == nonceOf(w.Image) {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

// leasesFailTogether answers every lease of a batch with the first error.
func leasesFailTogether(f *faulty) {
	f.leases = func(ctx context.Context, leases []driver.Lease) []driver.Grant {
		grants := f.eachLease(ctx, leases)
		for _, g := range grants {
			if g.Err != nil {
				return slices.Repeat([]driver.Grant{g}, len(grants))
			}
		}
		return grants
	}
}

// leasesBatchesAreSmall leaves out what is more than fits.
func leasesBatchesAreSmall(f *faulty) {
	f.leases = func(ctx context.Context, leases []driver.Lease) []driver.Grant {
		grants := f.eachLease(ctx, leases[:min(len(leases), 512)])
		for len(grants) < len(leases) {
			grants = append(grants, driver.Grant{Status: driver.LeaseGranted})
		}
		return grants
	}
}

// fillsFailTogether answers every fill of a batch with the first error. It fills
// them, so that only the receipts are wrong.
func fillsFailTogether(f *faulty) {
	f.fills = func(ctx context.Context, writes []driver.Write) []driver.Receipt {
		receipts := f.eachFill(ctx, writes)
		for _, r := range receipts {
			if r.Err != nil {
				return slices.Repeat([]driver.Receipt{r}, len(receipts))
			}
		}
		return receipts
	}
}

// fillsMixReceipts answers the fills of a large batch in another order.
func fillsMixReceipts(f *faulty) {
	f.fills = func(ctx context.Context, writes []driver.Write) []driver.Receipt {
		receipts := f.eachFill(ctx, writes)
		if len(writes) > 100 {
			slices.Reverse(receipts)
		}
		return receipts
	}
}
