package bus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Pauses before a message that failed is sent again: each is twice as long as the
// one before, up to the longest, and cut by up to one half at random.
const (
	firstResend   = 10 * time.Millisecond
	longestResend = 250 * time.Millisecond
)

// sender numbers messages and sends them. Its fields belong to the goroutine of
// send.
//
// The invariant: a number that was given out is of a message whose bytes never
// change. Nothing that has a later number is sent before the server has it, or it
// was given up.
type sender struct {
	bus      *Bus
	sequence uint64  // of the latest message that has a number
	letter   *letter // that message, if the server has not confirmed it; or nil
	room     letter  // for it

	pause time.Duration // before it is sent again
	again *time.Timer   // runs while there is a letter

	pace pace
}

// letter is a message with a number.
type letter struct {
	parcel  *batch
	payload []byte // of the batch
	began   time.Time
	repeats bool // it was sent before
}

// send sends what is in the outbox, the heartbeats and the barriers, one message
// at a time: so none of these names a message that was sent after it. Questions
// wait for a message that failed, which they would overtake.
func (b *Bus) send() {
	due := time.NewTimer(b.opts.HeartbeatInterval)
	defer due.Stop()
	s := &sender{bus: b, again: time.NewTimer(longestResend), pace: pace{latest: time.Now()}}
	defer s.again.Stop()
	s.again.Stop() // There is nothing to send again.
	for {
		wake, calls := b.wake, b.barriers.wake
		if s.letter != nil {
			calls = nil
		}
		if s.letter != nil && !s.letter.parcel.told {
			wake = nil // Publishers wait for the next attempt.
		}
		select {
		case <-b.ctx.Done():
			s.leave()
			return
		case <-due.C:
			if s.pace.wait(b) == 0 {
				s.heartbeat(false)
			}
			due.Reset(max(s.pace.wait(b), minWait))
		case <-b.beat:
			s.heartbeat(true)
			due.Reset(max(s.pace.wait(b), minWait))
		case <-calls:
			b.sendCalls(s.sent())
		case <-b.asking.wake:
			b.sendSettings(s.sent())
		case <-b.rollCall.wake:
			b.sendRollCall(s.sent())
		case <-wake:
			s.next()
		case <-s.again.C:
			s.next()
		}
	}
}

// sent returns the number of the latest message that the server has, or that was
// given up.
func (s *sender) sent() uint64 {
	if s.letter != nil {
		return s.sequence - 1
	}
	return s.sequence
}

// next sends one message, if one waits.
func (s *sender) next() {
	b := s.bus
	if s.letter == nil {
		p, more := b.outbox.take()
		if p == nil {
			return
		}
		if more {
			signal(b.wake)
		}
		s.sequence++
		s.room = letter{parcel: p, payload: p.payload(b.opts.Node, b.incarnation, s.sequence), began: time.Now()}
		s.letter = &s.room
		s.pause = firstResend
	}
	l := s.letter
	if err := b.transmit(l.payload, s.limit()); err != nil {
		s.failed(err)
		return
	}
	b.published.Add(1)
	b.publishedKeys.Add(uint64(l.parcel.items))
	if l.repeats {
		b.resent.Add(1)
		s.again.Stop()
		signal(b.wake) // More may wait than a signal was left for.
	}
	l.parcel.finish(nil)
	s.letter = nil
}

// limit returns how long an attempt may take. While publishers wait and the channel
// is heard, there is time for two: a server that dies takes a message along and does
// not answer, and the next one answers at once.
func (s *sender) limit() time.Duration {
	most := s.bus.opts.PublishTimeout
	switch {
	case s.letter.parcel.told || !s.bus.connected.Load():
		return most
	case !s.letter.repeats:
		return most / 2
	}
	return max(min(most/2, most-time.Since(s.letter.began)), minWait)
}

// failed takes in that an attempt failed. The others must not find the number
// missing because of a moment's trouble, so the same bytes are sent again.
// Publishers wait meanwhile, unless this process does not hear the channel or
// PublishTimeout has passed. After HeartbeatTimeout the others have had a gap
// because of this process in any case, and the message is given up.
func (s *sender) failed(err error) {
	b, l := s.bus, s.letter
	l.repeats = true
	age := time.Since(l.began)
	pause := s.pause/2 + rand.N(s.pause/2)
	s.pause = min(2*s.pause, longestResend)
	s.again.Reset(pause)
	if !l.parcel.told && b.connected.Load() && age+pause < b.opts.PublishTimeout {
		return
	}
	if l.parcel.tell(err) {
		b.publishErrors.Add(1)
	}
	told, full := b.outbox.refuse(err, b.bodyLimit())
	b.publishErrors.Add(uint64(told))
	if full || age >= b.opts.HeartbeatTimeout || len(l.payload) > b.bodyLimit() {
		s.giveUp()
	}
}

// giveUp uses up the number of the message, which lets the others see that one is
// missing. It may have come after all: what is dropped with it uses up one more.
func (s *sender) giveUp() {
	s.letter.parcel.finish(nil) // Its publishers know.
	s.letter = nil
	s.again.Stop()
	if s.bus.outbox.drop() {
		s.sequence++
	}
	signal(s.bus.wake)
}

// leave says goodbye, and that something is missing if something is.
func (s *sender) leave() {
	if s.letter != nil {
		s.letter.parcel.finish(ErrClosed)
	}
	if s.bus.outbox.pending() {
		s.sequence++
	}
	s.bus.sendGoodbye(s.sequence)
}

// heartbeatSize is the most that a heartbeat has beside its frame: an extension and when
// it was sent.
const heartbeatSize = 2 + 3 + 3*10 + 6 + 8

// heartbeat sends one, between two that are due if so. It ignores the error: a heartbeat that was not sent does not come
// back, and that is noticed.
func (s *sender) heartbeat(between bool) {
	b, p := s.bus, &s.pace
	payload := make([]byte, 0, frameSize+heartbeatSize)
	interval, sub := b.interval(), b.subscriber()
	e := extension{
		deaf: b.opts.Tool || sub == nil, readOnly: b.opts.ReadOnly,
		version: protocolVersion, about: b.described(),
	}
	if sub != nil && sub.handler.Repairs {
		e.interval = interval
	}
	p.tell(b, interval, between)
	payload = appendHeartbeat(payload, b.opts.Node, b.incarnation, s.sent(), b.moment(), &e)
	p.failed = b.transmit(payload, b.opts.PublishTimeout) != nil
}

// goodbyeTimeout bounds how long Close takes for a server that does not answer.
const goodbyeTimeout = 100 * time.Millisecond

// sendGoodbye spares the others the conclusion that this process died with
// something unsent. It ignores the error: then they conclude that.
func (b *Bus) sendGoodbye(sequence uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), goodbyeTimeout)
	defer cancel()
	_ = b.transport.Publish(ctx, appendGoodbye(make([]byte, 0, frameSize), b.opts.Node, b.incarnation, sequence))
}

func (b *Bus) transmit(payload []byte, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
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
