package bus

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// room is the transport of those who are in one room: everybody hears all.
type room struct {
	mu   sync.Mutex // protects ears
	ears []chan []byte
}

func (r *room) Publish(_ context.Context, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ear := range r.ears {
		ear <- slices.Clone(payload)
	}
	return nil
}

func (r *room) Receive(ctx context.Context, sink Sink) error {
	ear := make(chan []byte, 1000)
	r.mu.Lock()
	r.ears = append(r.ears, ear)
	r.mu.Unlock()
	sink.Ready()
	for {
		select {
		case payload := <-ear:
			sink.Deliver(payload)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *room) MaxPayload() int { return 0 }

// TestAssumption_OneLifeOfAProcess: a snapshot of a running process was started twice, so two
// have one incarnation. Each takes what the other says for its own, and no gap tells.
func TestAssumption_OneLifeOfAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(room)
		a, err := New(r, Options{})
		require.NoError(t, err)
		b, err := New(r, Options{})
		require.NoError(t, err)
		defer func() { assert.NoError(t, a.Close()); assert.NoError(t, b.Close()) }()
		b.incarnation = a.incarnation
		var own []bool
		gaps := 0
		require.NoError(t, a.Subscribe(Handler{
			Apply: func(m Message) { own = append(own, m.Own) },
			Gap:   func(error) { gaps++ },
		}))
		require.NoError(t, b.Subscribe(Handler{Apply: func(Message) {}, Gap: func(error) {}}))
		time.Sleep(5 * time.Second)
		require.NoError(t, b.Publish(t.Context(), Invalidation{Op: OpSet, Cache: "users", Key: "k"}))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, []bool{true}, own, "it is another process that published")
		assert.Zero(t, gaps)
	})
}
