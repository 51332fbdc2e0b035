package bus

import (
	"context"
	"encoding/binary"
	"sync"
	"time"
)

// rollPatience is how long answers to a roll call are waited for, once its question has come
// back: a round trip has passed by then, and the answers take another one.
const rollPatience = 100 * time.Millisecond

// rollCall is the question who is there. There is one at a time.
type rollCall struct {
	turn chan struct{} // holds one element while somebody asks
	wake chan struct{} // the question is to be sent; never closed
	came chan struct{} // a signal that it came back; never closed

	mu     sync.Mutex // protects the following fields
	number uint64     // of the latest question
	known  []uint64   // incarnations of those who need not answer
}

func (c *rollCall) init() {
	c.turn, c.wake, c.came = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
}

// RollCall asks everybody on the channel who is there, and returns the others that listen: see
// [Bus.Peers]. Those that are silent are not among them.
//
// Everybody answers at once, so all of them are known after a round trip. Because questions and
// answers may be lost, RollCall asks at least twice, 100 ms apart, and until nobody new answers.
// Processes older than this question do not answer, and are there if their latest heartbeat was
// heard. So are those that died lately, until they count as silent. Calls take turns.
//
// There must be a subscription. The error is that of ctx, which ends it while the channel is not
// heard, or [ErrClosed].
func (b *Bus) RollCall(ctx context.Context) ([]Peer, error) {
	c := &b.rollCall
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.ctx.Done():
		return nil, ErrClosed
	}
	began, answered := b.moment(), 0
	for first := true; ; first = false {
		sub := b.subscriber()
		if sub == nil {
			return nil, b.notListening()
		}
		if err := b.call(ctx, sub.peers.cameSince(began)); err != nil {
			return nil, err
		}
		now := len(sub.peers.cameSince(began))
		if !first && now <= answered {
			return b.present(), nil
		}
		answered = now
	}
}

// call asks until the question has come back, and waits for answers.
func (b *Bus) call(ctx context.Context, known []uint64) error {
	c := &b.rollCall
	for pause := firstAsk; ; pause = min(2*pause, longestAsk) {
		c.ask(known)
		came, err := b.await(ctx, c.came, pause)
		if err != nil {
			return err
		}
		if came {
			_, err := b.await(ctx, nil, rollPatience)
			return err
		}
	}
}

// await waits for a signal, for so long at most.
func (b *Bus) await(ctx context.Context, signal <-chan struct{}, most time.Duration) (came bool, err error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-signal:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-b.ctx.Done():
		return false, ErrClosed
	}
}

// present returns the peers that are not silent.
func (b *Bus) present() []Peer {
	var here []Peer
	for _, p := range b.Peers() {
		if !p.Silent {
			here = append(here, p)
		}
	}
	return here
}

// cameSince returns the incarnations of those who listen and were heard since a moment.
func (p *peers) cameSince(moment int64) (ids []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, who := range p.known {
		if who.listed() && who.came >= moment {
			ids = append(ids, id)
		}
	}
	return ids
}

// ask has the question sent, under another number.
func (c *rollCall) ask(known []uint64) {
	c.mu.Lock()
	c.number++
	c.known = known
	c.mu.Unlock()
	select {
	case <-c.came: // of one before
	default:
	}
	signal(c.wake)
}

// echo takes in that an own question came back.
func (c *rollCall) echo(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number == c.number {
		signal(c.came)
	}
}

// sendRollCall sends the question. It ignores the error: then the question does not come back.
func (b *Bus) sendRollCall(sequence uint64) {
	c := &b.rollCall
	c.mu.Lock()
	number, known := c.number, c.known
	c.mu.Unlock()
	payload := encodeRollCall(b.opts.Node, b.incarnation, sequence, number, known)
	if len(payload) > b.bodyLimit() { // then everybody answers
		payload = encodeRollCall(b.opts.Node, b.incarnation, sequence, number, nil)
	}
	_ = b.transmit(payload, b.opts.PublishTimeout)
}

func encodeRollCall(node string, incarnation, sequence, number uint64, known []uint64) []byte {
	dst := appendHeader(nil, typeRollCall, node, incarnation, sequence)
	dst = binary.BigEndian.AppendUint64(dst, number)
	dst = binary.AppendUvarint(dst, uint64(len(known)))
	for _, id := range known {
		dst = binary.BigEndian.AppendUint64(dst, id)
	}
	return dst
}
