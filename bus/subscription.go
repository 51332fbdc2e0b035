package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"
)

// Handler is what a subscriber does with what it hears. Its functions are
// called one at a time, in order, and should return soon: while one runs,
// nothing else is received. A panic in one is recovered and counts as a gap.
type Handler struct {
	// Apply is called for each message that has invalidations. The message may
	// be used only during the call. Its strings share one piece of memory;
	// clone what is kept for long.
	Apply func(Message)

	// Gap is called once when continuity is lost: messages may have been
	// missed, and may be until Ready is called. It is also called when the
	// first subscription cannot be made, and when the Bus is closed. If the reason was
	// ErrPeerSilent or ErrUnreadable, it is called once more when something else is lost
	// before Ready.
	Gap func(reason error)

	// Ready is called when the subscription stands, at first and after every
	// Gap: every message published from here on will be applied, or there will
	// be a Gap. Over a [Spreading] transport it is called once more, when
	// HeartbeatTimeout has passed since the subscription was made: what was
	// published at another server until then may be missing without a Gap. Until
	// then it is called before each Barrier as well. Nil means that nobody wants to know.
	Ready func()

	// Barrier is called when another process wants to know whether all that was
	// sent before has been applied. When it has, answer with [Bus.Ack], now or
	// later. Nil means that all is applied when Apply and Gap return: the Bus
	// answers by itself.
	Barrier func(BarrierRequest)

	// Peers is called when another process came, left, fell silent or says another thing
	// of itself: see [Bus.Peers]. Nil means that nobody wants to know.
	Peers func()

	// Repairs says that what is missed on the channel is soon learned elsewhere: from a journal.
	// While all who listen say so, heartbeats of a large fleet are rarer than
	// [Options.HeartbeatInterval]: with more than 150 processes by default.
	Repairs bool

	// Settings is called when a process tells its settings, with their digest as it is in
	// its heartbeats. Nil means that nobody wants to know.
	Settings func(digest uint64, settings []Setting)
}

// Pauses between subscriptions: each is twice as long as the one before, up to
// the longest, and cut by up to one half at random, so that the nodes do not
// all come back at once.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

type state uint8

const (
	starting  state = iota
	confirmed       // an own heartbeat came back since the latest loss
	lost
)

// subscription receives for one handler. Its fields belong to the goroutine
// that runs it, except those set once.
type subscription struct {
	bus     *Bus
	handler Handler
	cancel  context.CancelFunc
	done    chan struct{} // closed when run returned

	frame frame
	state state
	since int64 // moment; only heartbeats sent later confirm anything
	heard int64 // moment at which the newest heartbeat that came back was sent
	peers peers

	// minor says that the latest loss, which may be over, was none of the Bus itself:
	// another process has fallen silent, or a message could not be read.
	minor bool

	// settled says that all servers have had the time to learn of the
	// subscription, and that the handler was told.
	settled bool

	garbage garbage

	watchdog watchdog
}

func newSubscription(b *Bus, h Handler) *subscription {
	ctx, cancel := context.WithCancel(b.ctx)
	s := &subscription{bus: b, handler: h, cancel: cancel, done: make(chan struct{})}
	s.peers.opts = &b.opts
	go s.run(ctx) // ends with ctx; stop waits
	return s
}

func (s *subscription) stop() {
	s.cancel()
	<-s.done
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.done)
	defer s.bus.connected.Store(false)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := s.receive(ctx)
		if ctx.Err() != nil {
			s.end()
			return
		}
		if s.state == confirmed {
			pause = firstPause
		}
		s.lose(err)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			s.end()
			return
		}
	}
}

// end tells the handler that a closed Bus will bring no more news. Whoever
// unsubscribed knows.
func (s *subscription) end() {
	if s.bus.ctx.Err() != nil {
		s.lose(ErrClosed)
	}
}

// receive makes one subscription and returns why it ended. Cancelling is what
// heals a connection that is dead without saying so.
func (s *subscription) receive(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.since, s.heard = math.MaxInt64, 0
	defer func() { s.peers.end(s.heard) }()
	s.settled = false
	defer s.watchdog.watch(s.bus.opts.HeartbeatTimeout, func() { cancel(errSilent) })()

	err := s.bus.transport.Receive(ctx, Sink{Ready: s.subscribed, Deliver: s.deliver, Gap: s.lose})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return errNoReason
	}
	return err
}

// subscribed does not believe the server yet, but has it prove what it said.
func (s *subscription) subscribed() {
	s.since = s.bus.moment()
	s.peers.begin(s.since)
	signal(s.bus.beat)
}

func (s *subscription) deliver(payload []byte) {
	if isText(payload) {
		s.deliverText(payload)
		return
	}
	err := s.frame.decode(payload)
	if err == nil {
		s.accept()
		return
	}
	if errors.Is(err, errNewer) {
		s.bus.newer.Add(1)
	} else {
		s.malformed(err)
	}
	s.acceptPart(payload, err)
}

// malformed counts a payload that is not a message.
func (s *subscription) malformed(reason error) {
	s.bus.malformed.Add(1)
	s.skipped(reason)
}

// skipped logs that payloads come which cannot be read. The reason has nothing of what is
// in them.
func (s *subscription) skipped(reason error) {
	if s.garbage.add() {
		s.bus.opts.Logger.Warn("bus: what comes on the channel cannot be read, and is skipped", "reason", reason)
	}
}

// legible logs that no such payloads come any more.
func (s *subscription) legible() {
	if count, took, over := s.garbage.end(); over {
		s.bus.opts.Logger.Info("bus: what comes on the channel can be read again", "count", count, "after", took)
	}
}

func (s *subscription) deliverText(payload []byte) {
	if s.bus.opts.IgnoreText {
		s.bus.ignoredText.Add(1)
		return
	}
	if err := s.frame.decodeText(payload); err != nil {
		s.malformed(err)
		return
	}
	s.bus.text.Add(1)
	s.accept()
}

// acceptPart passes on what could be read of a message. What claims to be a
// message of this package may have been news, unless it is a heartbeat.
func (s *subscription) acceptPart(payload []byte, reason error) {
	if s.frame.heartbeat || len(payload) == 0 || payload[0] != magic {
		return
	}
	if errors.Is(reason, errNewer) { // any other was logged
		s.skipped(reason)
	}
	if len(s.frame.message.Invalidations) > 0 {
		s.accept()
	}
	s.lose(reason)
}

func (s *subscription) accept() {
	m := &s.frame.message
	m.Own = m.Incarnation == s.bus.incarnation
	missing := !m.Own && m.Incarnation != 0 && s.peers.note(&s.frame, s.bus.moment())
	defer s.tellPeers()
	if missing {
		s.bus.holes.Add(1)
	}
	if s.frame.heartbeat {
		if missing {
			s.lose(errHole)
		}
		s.acceptQuiet(m)
		return
	}
	if missing {
		defer s.lose(errHole) // of what is missing, not of this one
	}
	s.bus.received.Add(1)
	s.bus.receivedKeys.Add(uint64(len(m.Invalidations)))
	if m.Own {
		s.bus.own.Add(1)
	}
	if len(m.Invalidations) > 0 {
		s.apply(*m)
	}
}

// acceptQuiet takes in what carries no news.
func (s *subscription) acceptQuiet(m *Message) {
	f := &s.frame
	switch f.kind {
	case typeHeartbeat:
		s.bus.heartbeats.Add(1)
		if m.Own {
			s.heartbeat(f.sent)
		} else if f.extension.deaf {
			s.bus.barriers.left(m.Incarnation)
		}
	case typeGoodbye:
		s.bus.heartbeats.Add(1)
		s.bus.barriers.left(m.Incarnation)
	case typeBarrier:
		s.acceptBarrier(m, f)
	case typeArrivals:
		for _, c := range f.calls {
			if c.incarnation == s.bus.incarnation && !m.Own {
				s.bus.barriers.answered(c.number, m.Incarnation)
			}
		}
	case typeAsking:
		if !m.Own && slices.Contains(f.asked, s.bus.incarnation) {
			s.bus.asking.wanted()
		}
	case typeSettings:
		if !m.Own {
			s.tellSettings(f)
		}
	case typeRollCall:
		s.acceptRollCall(m, f)
	}
}

// acceptRollCall takes in the question who is there.
func (s *subscription) acceptRollCall(m *Message, f *frame) {
	switch {
	case m.Own:
		s.bus.rollCall.echo(f.call)
	case !s.bus.opts.Tool && !slices.Contains(f.asked, s.bus.incarnation):
		signal(s.bus.beat)
	}
}

// acceptBarrier takes in the question of a barrier.
func (s *subscription) acceptBarrier(m *Message, f *frame) {
	switch all := len(f.asked) == 0; {
	case m.Own:
		s.bus.barriers.echo(f.call)
	case s.bus.opts.Tool: // nobody waits for it, or is to count it
	case all || slices.Contains(f.asked, s.bus.incarnation):
		if roll := f.extension.roll; all && roll != nil && !slices.Contains(*roll, uint32(s.bus.incarnation)) {
			signal(s.bus.beat) // says that this process is there
		}
		if !all && time.Duration(s.bus.said.Load()) > s.bus.opts.HeartbeatInterval {
			signal(s.bus.beat) // whoever asks again wants to know whether this process lives
		}
		s.answer(BarrierRequest{incarnation: m.Incarnation, number: f.call, positions: f.extension.positions})
	}
}

// tellPeers tells the handler if there is news of other processes.
func (s *subscription) tellPeers() {
	if s.handler.Peers == nil || !s.peers.news() {
		return
	}
	defer s.recovered()
	s.handler.Peers()
}

func (s *subscription) tellSettings(f *frame) {
	if s.handler.Settings == nil {
		return
	}
	defer s.recovered()
	s.handler.Settings(f.digest, cloned(f.settings))
}

func (s *subscription) answer(c BarrierRequest) {
	if s.state == confirmed && !s.settled {
		s.catchUpAcrossServers()
	}
	if s.handler.Barrier == nil {
		s.bus.Ack(c)
		return
	}
	defer s.recovered()
	s.handler.Barrier(c)
}

func (s *subscription) apply(m Message) {
	defer s.recovered()
	s.handler.Apply(m)
}

// heartbeat takes in that an own heartbeat came back. Late and repeated ones
// prove nothing about now.
func (s *subscription) heartbeat(sent int64) {
	age, ok := s.bus.age(sent)
	if !ok || sent <= s.heard {
		return
	}
	s.heard = sent
	s.bus.roundTrip.Store(int64(age))
	s.watchdog.feed(sent, s.bus.opts.patience(time.Duration(s.bus.said.Load()))-age)
	forgot, silent := s.peers.forgetSilent(s.bus.moment())
	if forgot {
		s.bus.barriers.wakeAll()
	}
	if silent != nil {
		s.bus.silences.Add(1)
		s.lose(silent)
	}
	if s.state != confirmed && sent > s.since {
		s.confirm()
	}
	s.settle()
	s.legible()
}

// settle tells the handler once that the subscription is known to all servers.
// Whoever publishes at one that was told late is missed by nobody until then:
// the messages have numbers, but the first one heard may be any.
func (s *subscription) settle() {
	if s.settled || s.state != confirmed || s.bus.moment() <= s.peers.learned() {
		return
	}
	s.settled = true
	s.catchUpAcrossServers()
}

// catchUpAcrossServers has the handler catch up with what another server took before it
// knew of the subscription.
func (s *subscription) catchUpAcrossServers() {
	if t, ok := s.bus.transport.(Spreading); ok && t.Spreads() && s.handler.Ready != nil {
		defer s.recovered()
		s.handler.Ready()
	}
}

func (s *subscription) confirm() {
	s.state = confirmed
	s.bus.connected.Store(true)
	signal(s.bus.wake) // What failed is worth another attempt.
	s.bus.opts.Logger.Debug("bus: connected")
	if s.handler.Ready != nil {
		defer s.recovered()
		s.handler.Ready()
	}
}

// lose takes in that messages may have been missed. Until the subscription is
// confirmed again, all further losses are the same one to the handler.
func (s *subscription) lose(reason error) {
	s.since = max(s.since, s.bus.moment())
	minor := errors.Is(reason, ErrPeerSilent) || errors.Is(reason, ErrUnreadable)
	if s.state == lost && (minor || !s.minor) {
		s.bus.opts.Logger.Debug("bus: still not connected", "reason", reason)
		return
	}
	s.state, s.minor = lost, minor
	s.bus.connected.Store(false)
	s.bus.gaps.Add(1)
	s.bus.opts.Logger.Debug("bus: messages may have been missed", "reason", reason)
	defer s.recovered()
	s.handler.Gap(reason)
}

// recovered is deferred around the handler. What the handler was doing is
// undone, so it has missed something.
func (s *subscription) recovered() {
	p := recover()
	if p == nil {
		return
	}
	s.bus.panics.Add(1)
	// What it panicked with may carry data: its type has to do.
	s.bus.opts.Logger.Error("bus: handler panicked", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	s.lose(errPanicked)
}
