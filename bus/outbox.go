package bus

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// outbox gathers invalidations into messages while an earlier one is sent.
type outbox struct {
	maxBatch, size int // set once

	mu      sync.Mutex // protects the following fields, and the parcels in queue
	closed  bool
	queue   []*batch      // all are full but the last; those that are told come first
	items   int           // in queue
	refused bool          // the first batch of queue is told, or was when the outbox was closed
	room    chan struct{} // nil, or closed when items leave the queue
}

// batch is a message that is being gathered or sent. It belongs to the outbox, and
// to who takes it from there.
type batch struct {
	body  []byte // room for the frame, then the invalidations
	items int
	cache string // of the last invalidation

	told bool          // done is closed: the publishers know, and nobody joins them
	done chan struct{} // closed after err is set
	err  error
}

var bodies = sync.Pool{New: func() any { return new([]byte) }}

func newBatch() *batch {
	body := *bodies.Get().(*[]byte)
	body = slices.Grow(body[:0], frameSize)[:frameSize]
	return &batch{body: body, done: make(chan struct{})}
}

// tell tells the publishers what became of the batch, and reports whether they did
// not know yet. After an error it may still be sent.
func (p *batch) tell(err error) (news bool) {
	if p.told {
		return false
	}
	p.told, p.err = true, err
	close(p.done)
	return true
}

// finish tells the publishers what became of the batch. Nobody uses its body
// after that.
func (p *batch) finish(err error) {
	body := p.body
	bodies.Put(&body)
	p.body = nil
	p.tell(err)
}

// fill adds invalidations while the message has at most maxBatch of them and
// limit bytes. It returns how many it added.
func (p *batch) fill(invs []Invalidation, maxBatch, limit int) int {
	for n := range invs {
		if p.items == maxBatch {
			return n
		}
		size := len(p.body)
		p.body = appendItem(p.body, &invs[n], p.cache)
		if len(p.body) > limit {
			p.body = p.body[:size]
			return n
		}
		p.items++
		p.cache = invs[n].Cache
	}
	return len(invs)
}

// join adds what is in next, if there is room for all of it. The first invalidation
// of a batch names its cache, so the bytes may follow others.
func (p *batch) join(next *batch, maxBatch, limit int) bool {
	if p.items+next.items > maxBatch || len(p.body)+len(next.body)-frameSize > limit {
		return false
	}
	p.body = append(p.body, next.body[frameSize:]...)
	p.items += next.items
	p.cache = next.cache
	return true
}

// payload puts the frame in front of the invalidations.
func (p *batch) payload(node string, incarnation, sequence uint64) []byte {
	frame := appendHeader(make([]byte, 0, frameSize), typeInvalidations, node, incarnation, sequence)
	frame = binary.AppendUvarint(frame, uint64(p.items))
	start := frameSize - len(frame)
	copy(p.body[start:], frame)
	return p.body[start:]
}

// add puts the first n of invs, at least one, into the batch p. While the
// outbox is full, it waits.
func (o *outbox) add(ctx context.Context, invs []Invalidation, limit int) (p *batch, n int, err error) {
	for {
		p, n, room, err := o.tryAdd(invs, limit)
		if room == nil || err != nil {
			return p, n, err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// tryAdd returns a channel to wait for when the outbox is full.
func (o *outbox) tryAdd(invs []Invalidation, limit int) (p *batch, n int, room <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, 0, nil, ErrClosed
	}
	free := o.size - o.items
	if free == 0 {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		return nil, 0, o.room, nil
	}
	p, n = o.fillLocked(invs[:min(free, len(invs))], limit)
	if n == 0 {
		return nil, 0, nil, fmt.Errorf("%w: more bytes than the transport carries", ErrInvalid)
	}
	o.items += n
	return p, n, nil, nil
}

func (o *outbox) fillLocked(invs []Invalidation, limit int) (*batch, int) {
	if last := len(o.queue) - 1; last >= 0 && !o.queue[last].told {
		if n := o.queue[last].fill(invs, o.maxBatch, limit); n > 0 {
			return o.queue[last], n
		}
	}
	p := newBatch()
	n := p.fill(invs, o.maxBatch, limit)
	if n > 0 {
		o.queue = append(o.queue, p)
	}
	return p, n
}

// take returns the oldest batch, nil if there is none, and whether there are
// more.
func (o *outbox) take() (p *batch, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil, false
	}
	p = o.queue[0]
	o.queue = slices.Delete(o.queue, 0, 1)
	o.items -= p.items
	o.refused = len(o.queue) > 0 && o.queue[0].told
	o.makeRoomLocked()
	return p, len(o.queue) > 0
}

// refuse tells the publishers of all that waits of an error. It stays, in as few
// parcels as can be, and goes out when it can. It returns how many parcels were told
// of their first error, and whether there is no room for more.
func (o *outbox) refuse(err error, limit int) (told int, full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.queue[:0]
	for _, p := range o.queue {
		if p.tell(err) {
			told++
		}
		if last := len(kept) - 1; last >= 0 && kept[last].join(p, o.maxBatch, limit) {
			p.finish(nil) // Its publishers know.
			continue
		}
		kept = append(kept, p)
	}
	clear(o.queue[len(kept):])
	o.queue = kept
	o.refused = len(o.queue) > 0
	return told, o.items == o.size
}

// drop removes all that waits and has been refused, and reports whether there was
// anything.
func (o *outbox) drop() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	keep := slices.IndexFunc(o.queue, func(p *batch) bool { return !p.told })
	if keep < 0 {
		keep = len(o.queue)
	}
	for _, p := range o.queue[:keep] {
		o.items -= p.items
		p.finish(nil) // Its publishers know.
	}
	o.queue = slices.Delete(o.queue, 0, keep)
	o.refused = false
	o.makeRoomLocked()
	return keep > 0
}

// pending reports whether something waits that was refused.
func (o *outbox) pending() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.refused
}

func (o *outbox) makeRoomLocked() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// close refuses what waits and what comes.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, p := range o.queue {
		p.finish(ErrClosed)
	}
	o.queue = nil
	o.makeRoomLocked()
}
