package integration_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
)

// reception is a call of Receive and what it delivered.
type reception struct {
	ready chan struct{} // closed by Ready
	done  chan struct{} // closed when Receive returned

	mu    sync.Mutex // protects the following field
	heard []string
}

// receive starts to receive and waits for Ready. The first Deliver waits for
// hold, if that is not nil.
func receive(t *testing.T, transport bus.Transport, hold <-chan struct{}) *reception {
	t.Helper()
	r := &reception{ready: make(chan struct{}), done: make(chan struct{})}
	go func() { // ends with the context of the test
		defer close(r.done)
		err := transport.Receive(t.Context(), bus.Sink{
			Ready: func() { close(r.ready) },
			Gap:   func(error) {},
			Deliver: func(payload []byte) {
				if hold != nil {
					<-hold
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				r.heard = append(r.heard, string(payload))
			},
		})
		assert.Error(t, err)
	}()
	await(t, r.ready, "Ready")
	return r
}

func await(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(busPatience):
		require.FailNow(t, "in vain waited for "+what)
	}
}

func (r *reception) has(payload string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.heard, payload)
}

// The way to the server is slow, so that a Ready that does not wait for the
// server's answer comes too early.
func TestBus_ReadyMeansThatTheServerKnows(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	for name, open := range map[string]func(t *testing.T, channel string) (slow, direct bus.Transport){
		"redis": func(t *testing.T, channel string) (slow, direct bus.Transport) {
			relay := servers.RelayTo(t, sharedRedis(t).Addr)
			relay.Delay(delay)
			return redisTransport(t, relay.Addr, channel), redisTransport(t, sharedRedis(t).Addr, channel)
		},
		"nats": func(t *testing.T, channel string) (slow, direct bus.Transport) {
			relay := servers.RelayTo(t, hostOf(t, sharedNATS(t).URL))
			slow = natsTransport(t, "nats://"+relay.Addr, channel)
			relay.Delay(delay)
			return slow, natsTransport(t, sharedNATS(t).URL, channel)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow, direct := open(t, uniqueName())
			r := receive(t, slow, nil)
			require.NoError(t, direct.Publish(t.Context(), []byte("now")))
			require.Eventually(t, func() bool { return r.has("now") }, busPatience, 5*time.Millisecond)
		})
	}
}

// The connection is lost and restored while the receiver is busy: what comes
// over the new one must not be delivered as if nothing had happened. The driver
// chooses between the news of the loss and the payload, so it is tried a few
// times.
func TestBus_NATSLossWhileBusy(t *testing.T) {
	t.Parallel()
	server := sharedNATS(t)
	for range 8 {
		relay := servers.RelayTo(t, hostOf(t, server.URL))
		nc, err := nats.Connect("nats://"+relay.Addr, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(10*time.Millisecond))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		subject := uniqueName()
		transport, err := natsbus.New(nc, natsbus.Options{Subject: subject})
		require.NoError(t, err)
		direct := natsTransport(t, server.URL, subject)

		hold := make(chan struct{})
		r := receive(t, transport, hold)
		publish(t, direct, "before")
		relay.Refuse()
		require.Eventually(t, func() bool { return !nc.IsConnected() }, busPatience, time.Millisecond)
		publish(t, direct, "lost")
		require.NoError(t, relay.Resume())
		require.Eventually(t, nc.IsConnected, busPatience, time.Millisecond)
		publish(t, transport, "after") // back at the client when Publish returns
		close(hold)
		await(t, r.done, "the end of the subscription")
		assert.False(t, r.has("after"), "delivered although %q was lost", "lost")
	}
}

func publish(t *testing.T, transport bus.Transport, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), busPatience)
	defer cancel()
	require.NoError(t, transport.Publish(ctx, []byte(payload)))
}

func TestBus_NATSLeavesNoSubscription(t *testing.T) {
	t.Parallel()
	nc := natsConnection(t, sharedNATS(t).URL)
	transport, err := natsbus.New(nc, natsbus.Options{Subject: uniqueName()})
	require.NoError(t, err)
	node := startBus(t, transport)
	assert.Equal(t, 1, nc.NumSubscriptions())
	node.Unsubscribe()
	assert.Zero(t, nc.NumSubscriptions())
}
