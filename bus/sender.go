package bus

import (
	"context"
	"fmt"
	"time"
)

// send sends what is in the outbox, the heartbeats and the barriers, one message
// at a time: so none of these names a message that was sent after it.
func (b *Bus) send() {
	ticker := time.NewTicker(b.opts.HeartbeatInterval)
	defer ticker.Stop()
	var sequence uint64
	for {
		select {
		case <-b.ctx.Done():
			b.sendGoodbye(sequence)
			return
		case <-ticker.C:
			b.sendHeartbeat(sequence)
		case <-b.beat:
			b.sendHeartbeat(sequence)
		case <-b.barriers.wake:
			b.sendCalls(sequence)
		case <-b.asking.wake:
			b.sendSettings(sequence)
		case <-b.wake:
			sequence = b.sendNext(sequence)
		}
	}
}

// sendNext sends one message, if one waits. A failed message uses up its
// sequence number, which lets the others see that one is missing.
func (b *Bus) sendNext(sequence uint64) uint64 {
	p, more := b.outbox.take()
	if p == nil {
		return sequence
	}
	if more {
		signal(b.wake)
	}
	sequence++
	err := b.transmit(p.payload(b.opts.Node, b.incarnation, sequence))
	if err != nil {
		b.publishErrors.Add(1)
	} else {
		b.published.Add(1)
		b.publishedKeys.Add(uint64(p.items))
	}
	p.finish(err)
	return sequence
}

// heartbeatSize is the most that a heartbeat has beside its frame: an extension and when
// it was sent.
const heartbeatSize = 2 + 3 + 3*10 + 8

// sendHeartbeat ignores the error: a heartbeat that was not sent does not come
// back, and that is noticed.
func (b *Bus) sendHeartbeat(sequence uint64) {
	payload := make([]byte, 0, frameSize+heartbeatSize)
	e := extension{deaf: b.subscriber() == nil, version: protocolVersion, about: b.described()}
	_ = b.transmit(appendHeartbeat(payload, b.opts.Node, b.incarnation, sequence, b.moment(), &e))
}

// goodbyeTimeout bounds how long Close takes for a server that does not answer.
const goodbyeTimeout = 100 * time.Millisecond

// sendGoodbye spares the others the conclusion that this process died with
// something unsent. It ignores the error: then they conclude that.
func (b *Bus) sendGoodbye(sequence uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	_ = b.transport.Publish(ctx, appendGoodbye(make([]byte, 0, frameSize), b.opts.Node, b.incarnation, sequence))
}

func (b *Bus) transmit(payload []byte) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.opts.PublishTimeout)
	defer cancel()
	err := b.transport.Publish(ctx, payload)
	switch {
	case err == nil:
		return nil
	case b.ctx.Err() != nil:
		return ErrClosed
	}
	return fmt.Errorf("bus: publish: %w", err)
}
