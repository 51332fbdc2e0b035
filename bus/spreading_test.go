package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
)

// several is a transport whose server is one of several, or is not.
type several struct {
	*script
	spreads bool
}

func (s *several) Spreads() bool { return s.spreads }

// TestSpreading_ReadyOnceMore: what another server took before it knew of the
// subscription is missed by nobody, so the handler catches up once when all
// servers must know.
func TestSpreading_ReadyOnceMore(t *testing.T) {
	bare := func(s *several) bus.Transport { return s }
	wrapped := func(s *several) bus.Transport { return bustest.NewFaulty(s) }
	for name, c := range map[string]struct {
		spreads bool
		wrap    func(*several) bus.Transport
		want    []string
	}{
		"one server":               {false, bare, nil},
		"several servers":          {true, bare, []string{"ready"}},
		"one server, wrapped":      {false, wrapped, nil},
		"several servers, wrapped": {true, wrapped, []string{"ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, n := subscribed(t, c.wrap(&several{newScript(), c.spreads}))
				time.Sleep(10 * time.Millisecond)
				require.Equal(t, []string{"ready"}, n.take())
				time.Sleep(2900 * time.Millisecond)
				require.Empty(t, n.take(), "before the timeout of heartbeats has passed")
				time.Sleep(1200 * time.Millisecond)
				assert.Equal(t, c.want, n.take())
				time.Sleep(time.Minute)
				assert.Empty(t, n.take())
			})
		})
	}
}

// TestSpreading_AfterEachSubscription: a subscription that is made anew has to
// be passed on anew.
func TestSpreading_AfterEachSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		broken := make(chan struct{})
		receive := link.receive
		link.receive = func(ctx context.Context, sink bus.Sink) error {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			go func() { // ends with ctx
				select {
				case <-broken:
					cancel(errors.New("broken"))
				case <-ctx.Done():
				}
			}()
			return receive(ctx, sink)
		}
		_, n := subscribed(t, &several{link, true})
		time.Sleep(time.Minute)
		require.Equal(t, []string{"ready", "ready"}, n.take())
		broken <- struct{}{}
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"gap: context canceled", "ready", "ready"}, n.take())
	})
}
