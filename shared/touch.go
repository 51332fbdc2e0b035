package shared

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/shared/driver"
)

// Touch gives values a later end, in one round trip where the store can, and changes nothing else
// of them: see [driver.Toucher]. Each receipt tells what became of the touch in its place:
// [ErrNotFound] if the value of that revision is not there any more, [ErrInvalidKey],
// [ErrTooLate], [ErrOpen], [ErrClosed], or the error of the store. It wraps
// [errors.ErrUnsupported] for a store that is no Toucher. After any other error, the value may
// have the later end or not. Touch.NotAfter is the Tier's.
func (t *Tier) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(touches))
	asks, places := make([]driver.Touch, 0, len(touches)), make([]int, 0, len(touches))
	for i := range touches {
		ask := touches[i]
		if ask.Key, receipts[i].Err = t.touchable(&touches[i]); receipts[i].Err == nil {
			asks, places = append(asks, ask), append(places, i)
		}
	}
	if len(asks) == 0 {
		return receipts
	}
	a := touching{tier: t, asks: asks, places: places, receipts: receipts}
	if err := t.do(ctx, t.opts.Timeout, a.attempt); err != nil && !a.sent {
		for _, at := range places {
			receipts[at].Err = err
		}
	}
	return receipts
}

// touchable returns the name of the record that a touch is for, and refuses bad ones.
func (t *Tier) touchable(ask *driver.Touch) (name string, err error) {
	if name, err = t.check(ask.Key); err != nil {
		return "", err
	}
	if ask.TTL <= 0 || ask.TTL > MaxDuration {
		return "", fmt.Errorf("shared: touch %q: Touch.TTL is %v, not in 1ns to %v", ask.Key, ask.TTL, MaxDuration)
	}
	if t.toucher == nil {
		return "", fmt.Errorf("shared: touch %q: the store cannot: %w", ask.Key, errors.ErrUnsupported)
	}
	return name, nil
}

// touching is a batch of touches on their way. One that is sent again, or lands late, meets the
// value of its revision or none, and asks for the end that it had asked for before.
type touching struct {
	tier     *Tier
	asks     []driver.Touch // that are still to be sent
	places   []int          // of asks, in receipts
	receipts []driver.Receipt
	sent     bool
}

// attempt is a [call].
func (a *touching) attempt(ctx context.Context) (again bool, err error) {
	a.sent = true
	end := a.tier.deadline(ctx)
	for i := range a.asks {
		a.asks[i].NotAfter = end
	}
	var failed []int
	alive := false
	for i, r := range inTime(ctx, a.tier, a.tier.touches(), a.asks) {
		a.receipts[a.places[i]] = r
		if transient(r.Err) {
			failed = append(failed, i)
		}
		if answered(r.Err) {
			alive = true
		} else {
			err = r.Err
		}
	}
	a.asks, a.places = pick(a.asks, failed), pick(a.places, failed)
	if alive {
		err = nil
	}
	return len(failed) > 0, err
}
