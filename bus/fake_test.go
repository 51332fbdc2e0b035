package bus_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// script is a transport over memory of which a test replaces what it wants,
// before it gives it to a Bus.
type script struct {
	*membus.Transport
	publish func(ctx context.Context, payload []byte) error
	receive func(ctx context.Context, sink bus.Sink) error
	limit   int

	mu   sync.Mutex // protects the following field
	sent [][]byte
}

func newScript() *script {
	s := &script{Transport: membus.NewHub().Join()}
	s.publish, s.receive = s.Transport.Publish, s.Transport.Receive
	return s
}

func (s *script) MaxPayload() int { return s.limit }

func (s *script) Receive(ctx context.Context, sink bus.Sink) error { return s.receive(ctx, sink) }

func (s *script) Publish(ctx context.Context, payload []byte) error {
	s.mu.Lock()
	s.sent = append(s.sent, bytes.Clone(payload))
	s.mu.Unlock()
	return s.publish(ctx, payload)
}

// messages returns the messages that were sent, heartbeats left out.
func (s *script) messages(t *testing.T) []bus.Message {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var messages []bus.Message
	for _, payload := range s.sent {
		m, heartbeat, _, err := bus.Decode(payload)
		require.NoError(t, err)
		if !heartbeat {
			messages = append(messages, m)
		}
	}
	return messages
}

// heartbeats returns the sequences that the heartbeats named.
func (s *script) heartbeats(t *testing.T) []uint64 {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var sequences []uint64
	for _, payload := range s.sent {
		if m, heartbeat, _, err := bus.Decode(payload); heartbeat {
			require.NoError(t, err)
			sequences = append(sequences, m.Sequence)
		}
	}
	return sequences
}

// sizes returns how many invalidations each message has.
func sizes(messages []bus.Message) []int {
	var n []int
	for _, m := range messages {
		n = append(n, len(m.Invalidations))
	}
	return n
}

// notes is what a handler was called with, in order.
type notes struct {
	mu  sync.Mutex // protects the following field
	all []string
}

func (n *notes) add(note string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, note)
}

// take returns the notes and forgets them.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.all
	n.all = nil
	return all
}

func (n *notes) handler() bus.Handler {
	return bus.Handler{
		Apply: func(m bus.Message) {
			for _, inv := range m.Invalidations {
				n.add(inv.Key)
			}
		},
		Gap:   func(reason error) { n.add("gap: " + reason.Error()) },
		Ready: func() { n.add("ready") },
	}
}

func newBus(t *testing.T, transport bus.Transport, opts bus.Options) *bus.Bus {
	t.Helper()
	b, err := bus.New(transport, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// subscribed returns a Bus that notes what it hears.
func subscribed(t *testing.T, transport bus.Transport) (*bus.Bus, *notes) {
	t.Helper()
	b, n := newBus(t, transport, bus.Options{}), &notes{}
	require.NoError(t, b.Subscribe(n.handler()))
	return b, n
}

func deletion(key string) bus.Invalidation {
	return bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: key}
}
