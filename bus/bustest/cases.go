package bustest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/bus"
)

func transportCases() []testCase {
	return []testCase{
		{name: "every node receives", run: everyNodeReceives},
		{name: "own echo", run: ownEcho},
		{name: "order per publisher", run: orderPerPublisher},
		{name: "concurrent publishers", run: concurrentPublishers},
		{name: "empty payload", run: payloadArrives(func(bus.Transport) string { return "" })},
		{name: "binary payload", run: payloadArrives(func(bus.Transport) string { return everyByte() })},
		{name: "large payload", run: payloadArrives(largePayload)},
		{name: "too large payload is refused", run: tooLargePayload},
		{name: "payload may be reused after publish", run: payloadReuse},
		{name: "publish before subscribe", run: publishBeforeSubscribe},
		{name: "published after ready arrives", run: publishedAfterReady},
		{name: "slow subscriber is bounded and reported", run: slowSubscriber},
		{name: "cancel during receive", run: cancelDuringReceive},
		{name: "nothing is delivered after cancel", run: nothingAfterCancel},
		{name: "subscribe again after cancel", run: subscribeAgain},
		{name: "publish with a cancelled context", run: publishCancelled},
		{name: "channels do not hear each other", run: channelsApart},
		{name: "lost connection is reported", breaks: true, run: lostConnection},
	}
}

func numbered(prefix string, n int) []string {
	payloads := make([]string, n)
	for i := range payloads {
		payloads[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return payloads
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// largePayload returns the largest payload that a Bus sends through t.
func largePayload(t bus.Transport) string {
	size := 64 << 10
	if limit := t.MaxPayload(); limit > 0 {
		size = min(size, limit)
	}
	return strings.Repeat("x", size)
}

func everyNodeReceives(s *scene) {
	transports := []bus.Transport{s.join(), s.join(), s.join()}
	var listeners []*listener
	for _, t := range transports {
		listeners = append(listeners, s.listen(t))
	}
	var all []string
	for i, t := range transports {
		for _, payload := range numbered(fmt.Sprint("node", i), 20) {
			s.publish(t, payload)
			all = append(all, payload)
		}
	}
	for i, l := range listeners {
		s.until(func() bool { return l.has(all...) }, "all payloads at node %d", i)
		s.require(!l.lost(), "node %d lost continuity", i)
	}
}

func ownEcho(s *scene) {
	t := s.join()
	l := s.listen(t)
	s.publish(t, "hello")
	s.until(func() bool { return l.has("hello") }, "the own payload")
}

func orderPerPublisher(s *scene) {
	const n = 200
	publishers := []bus.Transport{s.join(), s.join()}
	listeners := []*listener{s.listen(publishers[0]), s.listen(s.join())}
	var wg sync.WaitGroup
	errs := make([]error, len(publishers))
	for i, t := range publishers {
		wg.Go(func() { errs[i] = publishAll(s.ctx, t, numbered(fmt.Sprint("p", i), n)) })
	}
	wg.Wait()
	s.noError(errors.Join(errs...), "publish")
	for _, l := range listeners {
		for i := range publishers {
			want := numbered(fmt.Sprint("p", i), n)
			s.until(func() bool { return l.has(want[n-1]) }, "the last payload")
			s.require(inOrder(l.all(), want), "payloads of a publisher are missing or out of order")
		}
	}
}

func publishAll(ctx context.Context, t bus.Transport, payloads []string) error {
	for _, payload := range payloads {
		if err := t.Publish(ctx, []byte(payload)); err != nil {
			return err
		}
	}
	return nil
}

// inOrder reports whether the first occurrences of want are in order in heard.
func inOrder(heard, want []string) bool {
	last := -1
	for _, payload := range want {
		at := slices.Index(heard, payload)
		if at <= last {
			return false
		}
		last = at
	}
	return true
}

func concurrentPublishers(s *scene) {
	t := s.join()
	l := s.listen(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	var all []string
	for i := range errs {
		payloads := numbered(fmt.Sprint("goroutine", i), 50)
		all = append(all, payloads...)
		wg.Go(func() { errs[i] = publishAll(s.ctx, t, payloads) })
	}
	wg.Wait()
	s.noError(errors.Join(errs...), "publish")
	s.until(func() bool { return l.has(all...) }, "all payloads")
}

func payloadArrives(payload func(bus.Transport) string) func(*scene) {
	return func(s *scene) {
		t := s.join()
		l := s.listen(s.join())
		s.publish(t, payload(t))
		s.publish(t, "end")
		s.until(func() bool { return l.has("end") }, "the payload after it")
		s.require(l.has(payload(t)), "the payload did not arrive as it was")
	}
}

func tooLargePayload(s *scene) {
	t := s.join()
	limit := t.MaxPayload()
	if limit == 0 {
		return
	}
	l := s.listen(t)
	err := t.Publish(s.ctx, make([]byte, limit+1))
	s.require(err != nil, "%d bytes more than MaxPayload were accepted", 1)
	s.publish(t, "end")
	s.until(func() bool { return l.has("end") }, "the payload after it")
}

func payloadReuse(s *scene) {
	t := s.join()
	l := s.listen(s.join())
	payload := make([]byte, 8)
	want := make([]string, 200)
	for i := range want {
		binary.BigEndian.PutUint64(payload, uint64(i))
		want[i] = string(payload)
		s.noError(t.Publish(s.ctx, payload), "publish")
		clear(payload)
	}
	s.publish(t, "end")
	s.until(func() bool { return l.has("end") }, "the payload after them")
	s.require(l.has(want...), "a payload was changed after Publish had returned")
}

func publishBeforeSubscribe(s *scene) {
	t := s.join()
	s.publish(t, "early")
	l := s.listen(t)
	s.publish(t, "late")
	s.until(func() bool { return l.has("late") }, "the payload published after Ready")
}

func publishedAfterReady(s *scene) {
	publisher := s.join()
	for range 20 {
		l := s.listen(s.join())
		s.publish(publisher, "now")
		s.until(func() bool { return l.has("now") }, "what was published right after Ready")
		s.noError(l.stop(), "stop")
	}
}

// slowSubscriber sends more than anybody should keep for a receiver that
// stands still.
func slowSubscriber(s *scene) {
	const size, count = 16 << 10, 4 << 10
	publisher := s.join()
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	l := s.listenWith(s.join(), &listener{hold: hold})
	s.undo = append(s.undo, func() error { release(); return nil })

	filler := strings.Repeat(".", size)
	for i := range count {
		s.publish(publisher, fmt.Sprintf("%08d%s", i, filler))
	}
	release()
	s.until(func() bool { return l.lost() || len(l.all()) >= count }, "all payloads or a gap")
	heard := l.all()
	s.require(len(heard) < count, "%d MiB were kept for a receiver that stood still", size*count>>20)
	next := 0
	for _, payload := range heard {
		if payload == gapMark {
			next = -1
			continue
		}
		var i int
		_, err := fmt.Sscanf(payload[:8], "%d", &i)
		s.noError(err, "read payload")
		s.require(next < 0 || i <= next, "payload %d came after %d without a gap", i, next-1)
		next = i + 1
	}
}

func cancelDuringReceive(s *scene) {
	idle := s.listen(s.join())
	busy := s.listen(s.join())
	ctx, cancel := context.WithCancel(s.ctx)
	publisher := s.join()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = publisher.Publish(ctx, []byte("traffic")) // Only there to keep the receiver busy.
			wait(ctx, time.Millisecond)
		}
	})
	s.undo = append(s.undo, func() error { cancel(); wg.Wait(); return nil })
	s.until(func() bool { return busy.has("traffic") }, "traffic")
	for _, l := range []*listener{idle, busy} {
		s.noError(l.stop(), "stop")
		s.require(errors.Is(l.returned(), context.Canceled), "Receive returned %w instead of the reason of its context", l.returned())
		heard := len(l.all())
		wait(s.ctx, 10*time.Millisecond)
		s.require(len(l.all()) == heard, "a payload was delivered after Receive had returned")
	}
}

// nothingAfterCancel repeats, since a driver that selects between payloads and
// the end of its context does right by chance.
func nothingAfterCancel(s *scene) {
	for range 8 {
		s.cancelBeforeMore()
	}
}

// cancelBeforeMore cancels while more payloads wait.
func (s *scene) cancelBeforeMore() {
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	l := s.listenWith(s.join(), &listener{hold: hold, stopAt: "stop"})
	s.undo = append(s.undo, func() error { release(); return nil })
	publisher := s.join()
	s.publish(publisher, "stop")
	for _, payload := range numbered("late", 50) {
		s.publish(publisher, payload)
	}
	release()
	s.until(func() bool { return l.returned() != nil }, "the return of Receive")
	s.require(len(l.all()) == 1, "%d payloads were delivered after the context had ended", len(l.all())-1)
}

func subscribeAgain(s *scene) {
	t := s.join()
	for range 3 {
		l := s.listen(t)
		s.publish(t, "again")
		s.until(func() bool { return l.has("again") }, "the payload")
		s.noError(l.stop(), "stop")
	}
}

func publishCancelled(s *scene) {
	t := s.join()
	l := s.listen(t)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	err := t.Publish(ctx, []byte("never"))
	s.require(errors.Is(err, context.Canceled), "Publish with a cancelled context returned %w", err)
	s.publish(t, "end")
	s.until(func() bool { return l.has("end") }, "the payload after it")
}

func channelsApart(s *scene) {
	one, two := s.join(), s.joinChannel(s.channel+"-other")
	hearsOne, hearsTwo := s.listen(one), s.listen(two)
	s.publish(one, "one")
	s.until(func() bool { return hearsOne.has("one") }, "the payload of the first channel")
	s.publish(two, "two")
	s.until(func() bool { return hearsTwo.has("two") }, "the payload of the second channel")
	s.publish(one, "end")
	s.until(func() bool { return hearsOne.has("end") }, "the end of the first channel")
	s.require(!hearsOne.has("two") && !hearsTwo.has("one"), "a payload came from another channel")
}

// lostConnection wants every lost connection reported, also one that the client
// library restores by itself at once.
func lostConnection(s *scene) {
	t := s.join()
	l := s.listen(t)
	s.publish(t, "before")
	s.until(func() bool { return l.has("before") }, "the payload before")
	s.noError(s.harness.Break(s.ctx, s.channel), "break")
	s.until(l.lost, "a report of the lost connection")
	s.noError(l.stop(), "stop")

	again := s.listenAgain(t)
	s.publish(t, "after")
	s.until(func() bool { return again.has("after") }, "the payload after")
}

// listenAgain subscribes as often as it takes.
func (s *scene) listenAgain(t bus.Transport) *listener {
	for {
		l := &listener{}
		if err := s.tryListen(t, l); err == nil {
			return l
		}
		s.require(wait(s.ctx, 20*time.Millisecond), "in vain tried to subscribe again")
	}
}

func (s *scene) tryListen(t bus.Transport, l *listener) (err error) {
	defer func() {
		if v, ok := recover().(violation); ok {
			err = v.error
		}
	}()
	s.listenWith(t, l)
	return nil
}
