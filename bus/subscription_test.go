package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
)

var errRefused = errors.New("refused")

func TestReady_OnlyWhenTheOwnHeartbeatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := bustest.NewFaulty(newScript())
		link.Set(bustest.Fault{Delay: 100 * time.Millisecond})
		b, n := subscribed(t, link)
		time.Sleep(150 * time.Millisecond) // the server has confirmed
		assert.Empty(t, n.take())
		assert.False(t, b.Stats().Connected)
		time.Sleep(100 * time.Millisecond)
		assert.Equal(t, []string{"ready"}, n.take())
		assert.True(t, b.Stats().Connected)
		assert.InDelta(t, 100*time.Millisecond, b.Stats().RoundTrip, float64(time.Microsecond))
	})
}

func TestReady_NotByHeartbeatsSentBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		var before [][]byte
		link.receive = func(ctx context.Context, sink bus.Sink) error {
			sink.Ready()
			time.Sleep(time.Millisecond)
			for _, payload := range before {
				sink.Deliver(payload)
			}
			<-ctx.Done()
			return ctx.Err()
		}
		b := newBus(t, link, bus.Options{})
		time.Sleep(2500 * time.Millisecond) // two heartbeats
		before = link.sentBefore()
		n := &notes{}
		require.NoError(t, b.Subscribe(n.handler()))
		time.Sleep(time.Second)
		assert.EqualValues(t, 2, b.Stats().Heartbeats)
		assert.Empty(t, n.take())
	})
}

// sentBefore returns what was sent up to now.
func (s *script) sentBefore() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

func TestReady_NotBeforeTheTransportSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		receive := link.receive
		link.receive = func(ctx context.Context, sink bus.Sink) error {
			sink.Ready = func() {}
			return receive(ctx, sink)
		}
		b, n := subscribed(t, link)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		assert.NotZero(t, b.Stats().Heartbeats)
		assert.Empty(t, n.take())
	})
}

func TestGap_OncePerLossHoweverManyAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		attempts := 0
		receive := link.receive
		link.receive = func(ctx context.Context, sink bus.Sink) error {
			if attempts++; attempts <= 8 {
				return errRefused
			}
			return receive(ctx, sink)
		}
		b, n := subscribed(t, link)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"gap: refused", "ready"}, n.take())
		assert.EqualValues(t, 1, b.Stats().Gaps)
		assert.Equal(t, 9, attempts)
	})
}

func TestGap_PausesBetweenAttemptsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		var at []time.Time
		link.receive = func(context.Context, bus.Sink) error {
			at = append(at, time.Now())
			return errRefused
		}
		b, _ := subscribed(t, link)
		time.Sleep(time.Minute)
		b.Unsubscribe()
		longest := 50 * time.Millisecond
		for i := 1; i < len(at); i++ {
			pause := at[i].Sub(at[i-1])
			assert.GreaterOrEqual(t, pause, longest/2)
			assert.Less(t, pause, longest)
			longest = min(2*longest, 2*time.Second)
		}
		assert.Greater(t, len(at), 30)
	})
}

func TestGap_EveryLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := bustest.NewFaulty(newScript())
		b, n := subscribed(t, link)
		for range 3 {
			synctest.Wait()
			require.Equal(t, []string{"ready"}, n.take())
			link.Cut()
			synctest.Wait()
			require.Equal(t, []string{"gap: bustest: subscription was cut"}, n.take())
			require.False(t, b.Stats().Connected)
			time.Sleep(50 * time.Millisecond) // the first pause, each time
		}
	})
}

func TestGap_WhenTheTransportGivesNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		link.receive = func(context.Context, bus.Sink) error { return nil }
		_, n := subscribed(t, link)
		synctest.Wait()
		assert.Equal(t, []string{"gap: bus: transport ended its subscription without a reason"}, n.take())
	})
}

// The transport goes on after it reported a gap, and so does the subscription:
// the next heartbeat shows that what comes after the gap is whole.
func TestGap_ReportedByTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		var sink bus.Sink
		receive, overflow := link.receive, make(chan struct{})
		link.receive = func(ctx context.Context, s bus.Sink) error {
			sink = s
			inner := s
			inner.Deliver = func(payload []byte) {
				select {
				case <-overflow:
					sink.Gap(errors.New("too slow"))
				default:
				}
				s.Deliver(payload)
			}
			return receive(ctx, inner)
		}
		b, n := subscribed(t, link)
		synctest.Wait()
		require.Equal(t, []string{"ready"}, n.take())
		overflow <- struct{}{}
		require.NoError(t, b.Publish(t.Context(), deletion("42")))
		synctest.Wait()
		require.Equal(t, []string{"gap: too slow", "42"}, n.take())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"ready"}, n.take())
	})
}

func TestHeartbeat_ThatDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := bustest.NewFaulty(newScript())
		b, n := subscribed(t, link)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		require.Equal(t, []string{"ready"}, n.take())
		link.Set(bustest.Fault{Drop: 1})
		time.Sleep(2400 * time.Millisecond)
		require.Empty(t, n.take())
		time.Sleep(200 * time.Millisecond)
		require.Equal(t, []string{"gap: bus: own heartbeat did not come back"}, n.take())
		time.Sleep(time.Minute)
		require.Empty(t, n.take(), "it is still the same loss")
		link.Set(bustest.Fault{})
		time.Sleep(6 * time.Second)
		require.Equal(t, []string{"ready"}, n.take())
		assert.EqualValues(t, 1, b.Stats().Gaps)
	})
}

// Nothing is ever missing here for long, only later and later.
func TestHeartbeat_ThatFallsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := bustest.NewFaulty(newScript())
		_, n := subscribed(t, link)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		require.Equal(t, []string{"ready"}, n.take())
		for delay := time.Duration(0); delay < 4*time.Second; delay += 500 * time.Millisecond {
			link.Set(bustest.Fault{Delay: delay})
			time.Sleep(2 * time.Second)
		}
		require.Equal(t, []string{"gap: bus: own heartbeat did not come back"}, n.take())
	})
}

func TestHeartbeat_LateOnesDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		receive := link.receive
		var heartbeats [][]byte
		link.receive = func(ctx context.Context, sink bus.Sink) error {
			deliver := sink.Deliver
			sink.Deliver = func(payload []byte) {
				deliver(payload)
				heartbeats = append(heartbeats, bytes.Clone(payload))
				if n := len(heartbeats); n > 3 {
					deliver(heartbeats[n-3]) // sent 2 s ago
				}
			}
			return receive(ctx, sink)
		}
		_, n := subscribed(t, link)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"ready"}, n.take())
	})
}

// A subscription that lags is as bad as one that is silent.
func TestHeartbeat_ThatComesBackTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := bustest.NewFaulty(newScript())
		_, n := subscribed(t, link)
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"ready"}, n.take())
		link.Set(bustest.Fault{Delay: 4 * time.Second})
		time.Sleep(time.Minute)
		require.Equal(t, []string{"gap: bus: own heartbeat did not come back"}, n.take())
	})
}

func TestHeartbeat_OldOnesProveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		var first []byte
		link.receive = func(ctx context.Context, sink bus.Sink) error {
			sink.Ready()
			for ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				link.mu.Lock()
				if first == nil {
					first = link.sent[len(link.sent)-1]
				}
				link.mu.Unlock()
				sink.Deliver(first)
			}
			return ctx.Err()
		}
		_, n := subscribed(t, link)
		time.Sleep(4 * time.Second)
		assert.Equal(t, []string{"ready", "gap: bus: own heartbeat did not come back"}, n.take())
	})
}

func TestHeartbeat_OfOthersProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		link.publish = func(context.Context, []byte) error { return errRefused }
		b, n := subscribed(t, link)
		for range 10 {
			time.Sleep(500 * time.Millisecond)
			forged := bus.EncodeHeartbeat("one", b.Incarnation(), 0, math.MaxInt64)
			require.NoError(t, link.Transport.Publish(t.Context(), forged))
			foreign := bus.EncodeHeartbeat("two", b.Incarnation()+1, 0, 1)
			require.NoError(t, link.Transport.Publish(t.Context(), foreign))
		}
		assert.Equal(t, []string{"gap: bus: own heartbeat did not come back"}, n.take())
	})
}

// inject has one payload delivered to a ready subscriber and returns what the
// handler was called with, and the statistics.
func inject(t *testing.T, payload []byte) (heard []string, stats bus.Stats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b, n := subscribed(t, link)
		synctest.Wait()
		require.Equal(t, []string{"ready"}, n.take())
		require.NoError(t, link.Transport.Publish(t.Context(), payload))
		synctest.Wait()
		heard, stats = n.take(), b.Stats()
	})
	return heard, stats
}

func TestDeliver_ForeignBytesAreCountedAndSkipped(t *testing.T) {
	for _, payload := range []string{"", "{}", "\x00", "\xf7", "hello", "delete users", "clear users 42", "123"} {
		heard, stats := inject(t, []byte(payload))
		assert.Empty(t, heard, payload)
		assert.EqualValues(t, 1, stats.Malformed, payload)
		assert.EqualValues(t, 0, stats.Received, payload)
		assert.EqualValues(t, 0, stats.Gaps, payload)
	}
}

func TestDeliver_DamagedMessageIsAGap(t *testing.T) {
	whole := bus.Encode(goldenMessage)
	for _, payload := range [][]byte{whole[:1], whole[:10], whole[:len(whole)-1]} {
		heard, stats := inject(t, payload)
		assert.Equal(t, []string{"gap: bus: message cannot be read: it is damaged"}, heard)
		assert.EqualValues(t, 1, stats.Malformed)
	}
}

func TestDeliver_NewerMessageIsAGap(t *testing.T) {
	heard, stats := inject(t, change(bus.Encode(goldenMessage), 1, 2))
	assert.Equal(t, []string{"gap: bus: message cannot be read: it is of a newer format"}, heard)
	assert.EqualValues(t, 1, stats.Newer)
	assert.EqualValues(t, 0, stats.Malformed)
}

func TestDeliver_UnknownOperationIsAGapAndTheRestApplied(t *testing.T) {
	heard, stats := inject(t, bus.Encode(bus.Message{Invalidations: []bus.Invalidation{
		{Op: 9, Cache: "users", Key: "1"}, deletion("2"),
	}}))
	assert.Equal(t, []string{"2", "gap: bus: message cannot be read: it is of a newer format"}, heard)
	assert.EqualValues(t, 1, stats.Newer)
}

func TestDeliver_NewerHeartbeatIsNoGap(t *testing.T) {
	heard, stats := inject(t, change(bus.EncodeHeartbeat("n", 3, 4, 5), 1, 2))
	assert.Empty(t, heard)
	assert.EqualValues(t, 1, stats.Newer)
}

func TestHandler_PanicIsRecoveredAndAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		n := &notes{}
		handler := n.handler()
		calm := handler
		handler.Apply = func(m bus.Message) {
			if m.Invalidations[0].Key == "bad" {
				panic("oh")
			}
			calm.Apply(m)
		}
		handler.Gap = func(reason error) {
			calm.Gap(reason)
			panic("oh again")
		}
		b := newBus(t, link, bus.Options{})
		require.NoError(t, b.Subscribe(handler))
		synctest.Wait()
		require.NoError(t, b.Publish(t.Context(), deletion("bad"), deletion("missed")))
		require.NoError(t, b.Publish(t.Context(), deletion("good")))
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"ready", "gap: bus: handler panicked", "good", "ready"}, n.take())
		assert.EqualValues(t, 2, b.Stats().Panics)
		assert.EqualValues(t, 1, b.Stats().Gaps)
	})
}

func TestHandler_PanicInReadyDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notes{}
		handler := n.handler()
		handler.Ready = func() { panic("oh") }
		b := newBus(t, newScript(), bus.Options{})
		require.NoError(t, b.Subscribe(handler))
		time.Sleep(9500 * time.Millisecond)
		assert.EqualValues(t, 10, b.Stats().Panics)
		assert.Len(t, n.take(), 10, "a gap each")
	})
}

func TestHandler_ReadyMayBeNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notes{}
		handler := n.handler()
		handler.Ready = nil
		b := newBus(t, newScript(), bus.Options{})
		require.NoError(t, b.Subscribe(handler))
		synctest.Wait()
		assert.True(t, b.Stats().Connected)
	})
}

func TestLogger_HearsOfGapsAndPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		link := bustest.NewFaulty(newScript())
		b := newBus(t, link, bus.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		handler := (&notes{}).handler()
		handler.Apply = func(bus.Message) { panic("secret") }
		require.NoError(t, b.Subscribe(handler))
		synctest.Wait()
		assert.Contains(t, log.String(), `level=DEBUG msg="bus: connected"`)
		require.NoError(t, b.Publish(t.Context(), deletion("secret")))
		synctest.Wait()
		assert.Contains(t, log.String(), `level=ERROR msg="bus: handler panicked" type=string`)
		assert.Contains(t, log.String(), `level=DEBUG msg="bus: messages may have been missed"`)
		assert.NotContains(t, log.String(), "secret")
	})
}
