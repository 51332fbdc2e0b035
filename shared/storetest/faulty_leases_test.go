package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// leasing changes every request for a lease.
func (f *faulty) leasing(change func(*shared.Lease)) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		change(&l)
		return acquire(ctx, l)
	}
}

func grantsTwice(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		grant := acquire(ctx, l)
		if grant.Status == shared.LeaseHeld {
			grant.Status = shared.LeaseGranted
		}
		return grant
	}
}

// grantsRace looks and writes in two steps.
func grantsRace(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		if image, _ := f.peek(l.Key); image != nil {
			return acquire(ctx, l)
		}
		time.Sleep(time.Millisecond) // lets the others look as well
		f.Store.Write(ctx, []shared.Write{{Key: l.Key, Image: l.Image, TTL: l.TTL}})
		return shared.Grant{Status: shared.LeaseGranted}
	}
}

// hidesReplaced says nothing of what a lease replaced.
func hidesReplaced(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		grant := acquire(ctx, l)
		if grant.Status == shared.LeaseGranted {
			grant.Image = nil
		}
		return grant
	}
}

// forgetsDeletes gives what gives a lease back a revision of its own.
func forgetsDeletes(f *faulty) {
	f.changing(func(w *shared.Write) { w.Born = shared.Revision{} })
}

func leaseForEver(f *faulty) { f.leasing(func(l *shared.Lease) { l.TTL = 0 }) }

func refusesHolder(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		if _, old := f.peek(l.Key); old.Kind == shared.KindLease && !l.Renew && old.Clock >= l.MinClock {
			return shared.Grant{Status: shared.LeaseHeld}
		}
		return acquire(ctx, l)
	}
}

func renewsNothing(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		if _, old := f.peek(l.Key); l.Renew && old.Kind == shared.KindLease && old.Nonce == nonceOf(l.Image) {
			return shared.Grant{Status: shared.LeaseGranted}
		}
		return acquire(ctx, l)
	}
}

func renewsAnything(f *faulty) { f.leasing(func(l *shared.Lease) { l.Renew = false }) }

// renewsRace looks and renews in two steps.
func renewsRace(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		if _, old := f.peek(l.Key); l.Renew && old.Kind == shared.KindLease {
			time.Sleep(time.Millisecond) // lets a write come in between
			r := f.Store.Write(ctx, []shared.Write{{Key: l.Key, Image: l.Image, TTL: l.TTL}})[0]
			return shared.Grant{Status: shared.LeaseGranted, Err: r.Err}
		}
		return acquire(ctx, l)
	}
}

func leasesValues(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		if !l.Renew && len(l.Discard) == 0 {
			if image, header := f.peek(l.Key); header.Kind == shared.KindValue {
				l.Discard = image
			}
		}
	})
}

func presentWithoutImage(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		grant := acquire(ctx, l)
		grant.Image = nil
		return grant
	}
}

func tombstonesHold(f *faulty) {
	acquire := f.acquire
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		if _, old := f.peek(l.Key); old.Kind == shared.KindTombstone && !l.Renew {
			return shared.Grant{Status: shared.LeaseHeld}
		}
		return acquire(ctx, l)
	}
}

func leasesWatermarks(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		if image, header := f.peek(l.Key); header.Kind == shared.KindWatermark && header.Clock < l.MinClock {
			l.Discard = image
		}
	})
}

func noMinClock(f *faulty) { f.leasing(func(l *shared.Lease) { l.MinClock = 0 }) }

// roundClock keeps as many digits of a clock as a number in Lua's own notation.
func roundClock(f *faulty) {
	f.leasing(func(l *shared.Lease) { l.MinClock = l.MinClock / 100 * 100 })
}

func noDiscard(f *faulty) { f.leasing(func(l *shared.Lease) { l.Discard = nil }) }

func discardsAnything(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		if image, _ := f.peek(l.Key); len(l.Discard) > 0 {
			l.Discard = image
		}
	})
}

func leasesForeign(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		if image, header := f.peek(l.Key); image != nil && header.Kind == 0 {
			l.Discard = image
		}
	})
}

func leasesNewer(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		image, _ := f.peek(l.Key)
		if _, err := shared.DecodeHeader(image); errors.Is(err, shared.ErrNewerFormat) {
			f.clear(l.Key)
		}
	})
}

func fillsUnchecked(f *faulty) { f.fill = f.write }

func fillsAnyLease(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		if _, old := f.peek(w.Key); old.Kind == shared.KindLease {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

func fillsAbsent(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		if image, _ := f.peek(w.Key); image == nil {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

// fillsTombstones forgets that a delete ends a lease.
func fillsTombstones(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		if _, old := f.peek(w.Key); old.Kind == shared.KindTombstone {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

// leasesApart keeps leases beside the values, where writes do not end them.
func leasesApart(f *faulty) {
	tokens := newNotes[uint64]()
	acquire, fill := f.acquire, f.fill
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		grant := acquire(ctx, l)
		if grant.Status == shared.LeaseGranted {
			tokens.set(l.Key, nonceOf(l.Image))
		}
		return grant
	}
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
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
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		if _, old := f.peek(w.Key); old.Kind == shared.KindLease && old.Nonce == nonceOf(w.Image) {
			time.Sleep(time.Millisecond) // lets a write come in between
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

func fillsNothing(f *faulty) {
	f.fill = func(context.Context, shared.Write) shared.Receipt { return shared.Receipt{} }
}

func fillsValuesOnly(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		if kindOf(w.Image) != shared.KindValue {
			return shared.Receipt{Err: shared.ErrLeaseLost}
		}
		return fill(ctx, w)
	}
}

func leaseIsValue(f *faulty) {
	f.leasing(func(l *shared.Lease) {
		l.Image = bytes.Clone(l.Image)
		l.Image[shared.KindOffset] = byte(shared.KindValue)
	})
}

// foreign reports whether what is under key is no record of any version.
func (f *faulty) foreign(key string) bool {
	image, _ := f.peek(key)
	_, err := shared.DecodeHeader(image)
	return image != nil && errors.Is(err, shared.ErrCorrupt)
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
	f.write = func(ctx context.Context, w shared.Write) shared.Receipt {
		if f.foreign(w.Key) {
			return shared.Receipt{Err: errFailed}
		}
		return write(ctx, w)
	}
}

// fillsForeign looks at kind and nonce only.
func fillsForeign(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		if image, _ := f.peek(w.Key); len(image) >= shared.HeaderSize && kindOf(image) == shared.KindLease && nonceOf(image) == nonceOf(w.Image) {
			return f.write(ctx, w)
		}
		return fill(ctx, w)
	}
}

// leasesFailTogether answers every lease of a batch with the first error.
func leasesFailTogether(f *faulty) {
	f.leases = func(ctx context.Context, leases []shared.Lease) []shared.Grant {
		grants := f.eachLease(ctx, leases)
		for _, g := range grants {
			if g.Err != nil {
				return slices.Repeat([]shared.Grant{g}, len(grants))
			}
		}
		return grants
	}
}

// leasesBatchesAreSmall leaves out what is more than fits.
func leasesBatchesAreSmall(f *faulty) {
	f.leases = func(ctx context.Context, leases []shared.Lease) []shared.Grant {
		grants := f.eachLease(ctx, leases[:min(len(leases), 512)])
		for len(grants) < len(leases) {
			grants = append(grants, shared.Grant{Status: shared.LeaseGranted})
		}
		return grants
	}
}

// fillsFailTogether answers every fill of a batch with the first error. It fills
// them, so that only the receipts are wrong.
func fillsFailTogether(f *faulty) {
	f.fills = func(ctx context.Context, writes []shared.Write) []shared.Receipt {
		receipts := f.eachFill(ctx, writes)
		for _, r := range receipts {
			if r.Err != nil {
				return slices.Repeat([]shared.Receipt{r}, len(receipts))
			}
		}
		return receipts
	}
}

// fillsMixReceipts answers the fills of a large batch in another order.
func fillsMixReceipts(f *faulty) {
	f.fills = func(ctx context.Context, writes []shared.Write) []shared.Receipt {
		receipts := f.eachFill(ctx, writes)
		if len(writes) > 100 {
			slices.Reverse(receipts)
		}
		return receipts
	}
}
