package shared

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// delivery is a batch of writes on their way. Every attempt of a write has the
// same nonce, by which the store knows it again, and the same deadline, after
// which none of them takes effect.
type delivery struct {
	tier     *Tier
	store    func(context.Context, []driver.Write) []driver.Receipt
	writes   []driver.Write
	receipts []driver.Receipt // in the order of writes
	places   []int            // of the writes that are still to be sent
	sent     bool             // deadlines are given
	end      time.Time        // the deadline, on our clock; set when sent
}

// deliver sends writes, and again those that no server answered.
func (t *Tier) deliver(ctx context.Context, writes []driver.Write, store func(context.Context, []driver.Write) []driver.Receipt) []driver.Receipt {
	d := delivery{
		tier: t, store: store, writes: writes,
		receipts: make([]driver.Receipt, len(writes)), places: make([]int, len(writes)),
	}
	for i := range d.places {
		d.places[i] = i
	}
	err := t.do(ctx, t.opts.Timeout, d.attempt)
	for _, at := range d.places {
		if d.sent {
			d.receipts[at].Err = because(ctx.Err(), d.receipts[at].Err)
		} else {
			d.receipts[at].Err = err
		}
	}
	for i := range d.receipts {
		if err := d.receipts[i].Err; underWay(err) && time.Now().Before(d.end) {
			d.receipts[i].Err = &openError{err, d.end}
		}
	}
	return d.receipts
}

// openError is the error of a write that failed before its deadline, and may take
// effect until then.
type openError struct {
	error
	end time.Time
}

func (e *openError) Unwrap() error { return e.error }

// OpenUntil is for callers that write again or take the write back: what they
// send before this moment may be overtaken.
func (e *openError) OpenUntil() time.Time { return e.end }

// attempt is a [call].
func (d *delivery) attempt(ctx context.Context) (again bool, err error) {
	if !d.sent {
		d.sent = true
		d.end, _ = ctx.Deadline()
		end := d.tier.deadline(ctx)
		for i := range d.writes {
			d.writes[i].NotAfter = end
		}
	}
	var failed []int
	alive := false
	for i, r := range inTime(ctx, d.tier, writesBy(d.store), pick(d.writes, d.places)) {
		at := d.places[i]
		d.receipts[at] = r
		if repeatable(&d.writes[at], r.Err) {
			failed = append(failed, at)
		}
		if answered(r.Err) {
			alive = true
		} else {
			err = r.Err
		}
	}
	d.places = failed
	if alive {
		err = nil
	}
	return len(failed) > 0, err
}

// repeatable reports whether w, which failed with err, may be sent again.
func repeatable(w *driver.Write, err error) bool {
	return transient(err) && (!isValue(w) || !overtakes(err))
}

// isValue reports whether w stores a value, or that there is none. Storing
// another kind of record twice makes keys miss at worst.
func isValue(w *driver.Write) bool {
	kind := driver.Kind(w.Image[driver.KindOffset])
	return kind == driver.KindValue || kind == driver.KindNotFound
}
