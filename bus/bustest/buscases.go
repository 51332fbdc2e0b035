package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/bus"
)

func busCases() []testCase {
	return []testCase{
		{name: "bus delivers to everybody", run: busDelivers},
		{name: "duplicates tolerated", run: duplicatesTolerated},
		{name: "handler panic", run: handlerPanic},
		{name: "foreign bytes are counted and skipped", run: foreignBytes},
		{name: "plain text is heard", run: plainText},
		{name: "barrier waits for everybody", run: barrierWaits},
		{name: "missing heartbeat is a gap", run: missingHeartbeat},
		{name: "publish after close", run: publishAfterClose},
		{name: "concurrent close", run: concurrentClose},
		{name: "reconnect is a gap and ready again", breaks: true, run: reconnect},
	}
}

// member is a Bus that notes what its handler is called with.
type member struct {
	*bus.Bus

	mu    sync.Mutex // protects the following fields
	keys  []string   // publisher's node and key; with "text" for the node of text
	gaps  []error
	ready int
	panic string // key at which Apply panics, once
}

// steady is for cases in which nothing but the case itself may cause a gap.
var steady = bus.Options{HeartbeatInterval: 50 * time.Millisecond, HeartbeatTimeout: patience, PublishTimeout: patience}

// enter makes a Bus over t and waits until it is ready.
func (s *scene) enter(t bus.Transport, node string, opts bus.Options) *member {
	opts.Node = node
	b, err := bus.New(t, opts)
	s.noError(err, "New")
	m := &member{Bus: b}
	s.undo = append(s.undo, m.end)
	s.noError(b.Subscribe(bus.Handler{Apply: m.apply, Gap: m.gap, Ready: m.readied}), "Subscribe")
	s.until(func() bool { return m.readies() > 0 }, "Ready at %s", node)
	return m
}

func (m *member) end() error {
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }() // ends with Close, which the next line waits for
	if !within(closed) {
		return errors.New("call of Close did not return")
	}
	return nil
}

func (m *member) apply(msg bus.Message) {
	node := msg.Node
	if msg.Text {
		node = "text"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, inv := range msg.Invalidations {
		if inv.Key == m.panic && m.panic != "" {
			m.panic = ""
			panic("bustest: as asked for")
		}
		m.keys = append(m.keys, node+" "+inv.Key)
	}
}

func (m *member) gap(reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaps = append(m.gaps, reason)
}

func (m *member) readied() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready++
}

func (m *member) readies() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready
}

func (m *member) lost() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.gaps)
}

func (m *member) has(keys ...string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		if !slices.Contains(m.keys, key) {
			return false
		}
	}
	return true
}

func (m *member) tell(s *scene, key string) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	inv := bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: key}
	s.noError(m.Publish(ctx, inv), "Publish")
}

func busDelivers(s *scene) {
	members := []*member{
		s.enter(s.join(), "one", steady), s.enter(s.join(), "two", steady), s.enter(s.join(), "three", steady),
	}
	var all []string
	for i, m := range members {
		node := []string{"one", "two", "three"}[i]
		for _, key := range numbered("key", 20) {
			m.tell(s, key)
			all = append(all, node+" "+key)
		}
	}
	for i, m := range members {
		s.until(func() bool { return m.has(all...) }, "all keys at node %d", i)
		s.require(len(m.lost()) == 0, "gap at node %d: %w", i, errors.Join(m.lost()...))
	}
}

func duplicatesTolerated(s *scene) {
	t := NewFaulty(s.join())
	t.Set(Fault{Duplicate: 1})
	m := s.enter(t, "one", steady)
	for _, key := range numbered("key", 20) {
		m.tell(s, key)
		s.until(func() bool { return m.has("one " + key) }, "the key")
	}
	s.require(len(m.lost()) == 0, "gap: %w", errors.Join(m.lost()...))
}

func handlerPanic(s *scene) {
	m := s.enter(s.join(), "one", steady)
	m.mu.Lock()
	m.panic = "bad"
	m.mu.Unlock()
	m.tell(s, "bad")
	s.until(func() bool { return len(m.lost()) == 1 && m.readies() == 2 }, "one gap, then Ready")
	m.tell(s, "good")
	s.until(func() bool { return m.has("one good") }, "the key after the panic")
	s.require(m.Stats().Panics == 1, "%d panics counted", m.Stats().Panics)
}

func foreignBytes(s *scene) {
	t := s.join()
	m := s.enter(s.join(), "one", steady)
	foreign := []string{"", "\x00", "{}", everyByte(), "hello world", "invalidate users", "\xff\xfe", "123"}
	for _, payload := range foreign {
		s.publish(t, payload)
	}
	m.tell(s, "after")
	s.until(func() bool { return m.has("one after") }, "the key after the foreign bytes")
	// They come from another node, and may take longer.
	s.until(func() bool { return m.Stats().Malformed >= uint64(len(foreign)) }, "%d malformed", len(foreign))
	s.require(m.Stats().Gaps == 0, "foreign bytes were a gap")
}

func plainText(s *scene) {
	t := s.join()
	m := s.enter(s.join(), "one", steady)
	s.publish(t, "invalidate users 42 43\n")
	s.until(func() bool { return m.has("text 42", "text 43") }, "the keys")
	s.publish(t, "clear users")
	s.until(func() bool { return m.has("text ") }, "clear")
}

func barrierWaits(s *scene) {
	// Who is there is known after one timeout.
	brisk := bus.Options{HeartbeatInterval: 50 * time.Millisecond, HeartbeatTimeout: time.Second}
	one, two, three := s.enter(s.join(), "one", brisk), s.enter(s.join(), "two", brisk), s.enter(s.join(), "three", brisk)
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for _, key := range numbered("key", 20) {
		one.tell(s, key)
		answered, err := one.Barrier(ctx, bus.BarrierOptions{AtLeast: 2})
		s.noError(err, "Barrier")
		s.require(answered == 2, "%d answered the barrier, not two", answered)
		s.require(two.has("one "+key) && three.has("one "+key), "Barrier returned and %s had not been applied", key)
	}
	s.noError(two.end(), "Close")
	_, err := one.Barrier(ctx, bus.BarrierOptions{})
	s.noError(err, "Barrier without one that was closed")
}

func missingHeartbeat(s *scene) {
	t := NewFaulty(s.join())
	m := s.enter(t, "one", bus.Options{HeartbeatInterval: 50 * time.Millisecond, HeartbeatTimeout: time.Second})
	gaps, readies := len(m.lost()), m.readies()
	t.Set(Fault{Drop: 1})
	s.until(func() bool { return len(m.lost()) > gaps }, "a gap")
	t.Set(Fault{})
	s.until(func() bool { return m.readies() > readies }, "Ready")
	m.tell(s, "after")
	s.until(func() bool { return m.has("one after") }, "the key after the gap")
}

func publishAfterClose(s *scene) {
	m := s.enter(s.join(), "one", steady)
	s.noError(m.end(), "Close")
	s.noError(m.end(), "second Close")
	err := m.Publish(s.ctx, bus.Invalidation{Op: bus.OpClear, Cache: "users"})
	s.require(errors.Is(err, bus.ErrClosed), "Publish after Close returned %w", err)
	err = m.Subscribe(bus.Handler{Apply: m.apply, Gap: m.gap})
	s.require(errors.Is(err, bus.ErrClosed), "Subscribe after Close returned %w", err)
}

func concurrentClose(s *scene) {
	m := s.enter(s.join(), "one", steady)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = publishUntilError(s.ctx, m.Bus, i) })
	}
	s.until(func() bool { return m.Stats().Received > 10 }, "traffic")
	ends := make([]error, 3)
	for i := range ends {
		wg.Go(func() { ends[i] = m.end() })
	}
	wg.Wait()
	s.noError(errors.Join(ends...), "Close")
	for _, err := range errs {
		s.require(errors.Is(err, bus.ErrClosed), "Publish during Close returned %w", err)
	}
	received := m.Stats().Received
	wait(s.ctx, 10*time.Millisecond)
	s.require(m.Stats().Received == received, "the handler was called after Close had returned")
}

func publishUntilError(ctx context.Context, b *bus.Bus, i int) error {
	for {
		err := b.Publish(ctx, bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: fmt.Sprint(i)})
		if err != nil {
			return err
		}
		wait(ctx, time.Millisecond) // lets the clock of a bubble go on
	}
}

func reconnect(s *scene) {
	members := []*member{s.enter(s.join(), "one", steady), s.enter(s.join(), "two", steady)}
	s.noError(s.harness.Break(s.ctx, s.channel), "break")
	for i, m := range members {
		s.until(func() bool { return len(m.lost()) > 0 && m.readies() > 1 }, "a gap and Ready at node %d", i)
	}
	for i, m := range members {
		m.tell(s, fmt.Sprint("after", i))
	}
	for i, m := range members {
		s.until(func() bool { return m.has("one after0", "two after1") }, "the keys after the break at node %d", i)
	}
}
