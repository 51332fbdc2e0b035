package driver

import (
	"context"
	"encoding/binary"
	"time"
)

// Toucher is implemented by a [Store] that can give a value a later end without another write
// of it.
type Toucher interface {
	// Touch gives each value a later end, in one atomic step for each, if the record of
	// Touch.Revision is in its place, is a value and has not ended: it then lives for TTL from
	// now on, or longer if it did already. What is kept past its soft expiry is kept for as
	// much longer. Nothing else of the record changes: neither revision, where the store gives
	// revisions, nor nonce, clock or value. It is no write: the journal does not have it.
	//
	// A value that has no end stays as it is. The error is ErrNotFound if that value is not
	// there: a touch never brings back what has ended. The result has one Receipt for each
	// touch, in order, whose Revision means nothing.
	//
	// A store that embeds another one, and changes the names of keys or the time, needs a Touch of
	// its own.
	Touch(ctx context.Context, touches []Touch) []Receipt
}

// Touch asks a [Toucher] for a later end of one value.
type Touch struct {
	Key      string
	Revision Revision      // of the value, as it was read
	TTL      time.Duration // more than 0
	NotAfter time.Time     // as in Write
}

// Extend gives image, an encoded record, the ends that a touch with this TTL asks for, and
// returns the hard one, zero if there is none. It reports false if there is no value in image, or
// none that lives. It is for drivers whose server cannot do it.
func Extend(image []byte, now time.Time, ttl time.Duration) (hard time.Time, ok bool) {
	r, err := DecodeHeader(image)
	today := now.UnixMilli()
	ends := r.Soft
	if ends == 0 {
		ends = r.Hard
	}
	if err != nil || r.Kind != KindValue || ends != 0 && ends <= today || r.Hard != 0 && r.Hard <= today {
		return time.Time{}, false
	}
	if more := now.Add(ttl).UnixMilli() - ends; ends != 0 && more > 0 {
		if r.Soft != 0 {
			r.Soft += more
		}
		if r.Hard != 0 {
			r.Hard += more
		}
		binary.BigEndian.PutUint64(image[StampOffset+16:], uint64(r.Soft))
		binary.BigEndian.PutUint64(image[StampOffset+24:], uint64(r.Hard))
	}
	if r.Hard == 0 {
		return time.Time{}, true
	}
	return time.UnixMilli(r.Hard), true
}
