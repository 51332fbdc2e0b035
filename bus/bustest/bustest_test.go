package bustest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/membus"
)

// network makes harnesses over memory in which one thing is wrong.
type network struct {
	mu    sync.Mutex // protects the following fields
	hubs  map[string]*membus.Hub
	links map[string][]*bustest.Faulty
}

// harness returns a harness whose transports are what wrong makes of links.
func (n *network) harness(wrong func(*bustest.Faulty) bus.Transport) bustest.Harness {
	return bustest.Harness{
		Join: func(channel string) (bus.Transport, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.hubs[channel] == nil {
				n.hubs[channel] = membus.NewHub()
			}
			link := bustest.NewFaulty(n.hubs[channel].Join())
			n.links[channel] = append(n.links[channel], link)
			return wrong(link), nil
		},
		Break: func(_ context.Context, channel string) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, link := range n.links[channel] {
				link.Cut()
			}
			return nil
		},
	}
}

// inBubble runs a part of the suite in a bubble.
func inBubble(t *testing.T, wrong func(*bustest.Faulty) bus.Transport, run func(context.Context, bustest.Harness) error) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{hubs: make(map[string]*membus.Hub), links: make(map[string][]*bustest.Faulty)}
		err = run(t.Context(), n.harness(wrong))
		time.Sleep(time.Hour) // A transport that does not end in time ends then.
	})
	return err
}

func with(fault bustest.Fault) func(*bustest.Faulty) bus.Transport {
	return func(link *bustest.Faulty) bus.Transport {
		link.Set(fault)
		return link
	}
}

func TestCheck_PassesWhatTheContractAllows(t *testing.T) {
	for name, fault := range map[string]bustest.Fault{
		"no fault":   {},
		"duplicates": {Duplicate: 3},
		"delay":      {Delay: 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, inBubble(t, with(fault), bustest.Check))
		})
	}
}

func TestCases_FailOnTheFaultTheyAreFor(t *testing.T) {
	for name, test := range map[string]struct {
		wrong func(*bustest.Faulty) bus.Transport
		cases []string
	}{
		"drops":       {with(bustest.Fault{Drop: 7}), []string{"every node receives", "order per publisher", "concurrent publishers", "bus delivers to everybody"}},
		"reorders":    {with(bustest.Fault{Reorder: 7}), []string{"order per publisher"}},
		"disconnects": {with(bustest.Fault{Disconnect: 7}), []string{"every node receives", "bus delivers to everybody"}},
		"is deaf":     {with(bustest.Fault{Drop: 1}), []string{"own echo", "bus delivers to everybody", "missing heartbeat is a gap"}},
		"lags":        {with(bustest.Fault{Delay: time.Hour}), []string{"own echo", "every node receives"}},

		"loses questions":              {wrap(losesQuestions), []string{"barrier waits for everybody"}},
		"keeps the payload":            {wrap(keepsPayload), []string{"payload may be reused after publish"}},
		"ignores the context":          {wrap(ignoresContext), []string{"publish with a cancelled context"}},
		"outlives its context":         {wrap(outlives), []string{"cancel during receive"}},
		"gives no reason":              {wrap(noReason), []string{"cancel during receive"}},
		"loses the empty payload":      {wrap(losesEmpty), []string{"empty payload"}},
		"carries text only":            {wrap(textOnly), []string{"binary payload"}},
		"truncates":                    {wrap(truncates), []string{"large payload"}},
		"accepts too much":             {wrap(lies), []string{"too large payload is refused"}},
		"is ready too early":           {wrap(readyEarly), []string{"published after ready arrives"}},
		"reconnects in silence":        {wrap(silentReconnect), []string{"lost connection is reported", "reconnect is a gap and ready again"}},
		"drops for the slow":           {wrap(silentOverflow), []string{"slow subscriber is bounded and reported"}},
		"keeps everything for a while": {wrap(unbounded), []string{"slow subscriber is bounded and reported"}},
		"delivers at the same time":    {wrap(overlaps), []string{"concurrent publishers"}},
		"subscribes only once":         {wrap(onlyOnce), []string{"subscribe again after cancel"}},
		"delivers after cancel":        {wrap(deliversLate), []string{"nothing is delivered after cancel"}},
		"hears other channels":         {crosstalk(), []string{"channels do not hear each other"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, name := range test.cases {
				err := inBubble(t, test.wrong, func(ctx context.Context, h bustest.Harness) error {
					return bustest.CheckCase(ctx, h, name)
				})
				require.Error(t, err, name)
				assert.NotContains(t, err.Error(), "no case is named")
			}
		})
	}
}

func TestCheck_NamesTheCasesThatFail(t *testing.T) {
	err := inBubble(t, wrap(losesEmpty), bustest.Check)
	require.EqualError(t, err, "empty payload: the payload did not arrive as it was\n"+
		"foreign bytes are counted and skipped: in vain waited for: 8 malformed")
}

// broken is a link with some of its methods replaced.
type broken struct {
	*bustest.Faulty
	publish func(ctx context.Context, payload []byte) error
	receive func(ctx context.Context, sink bus.Sink) error
	limit   int
}

func wrap(change func(*broken)) func(*bustest.Faulty) bus.Transport {
	return func(link *bustest.Faulty) bus.Transport {
		b := &broken{Faulty: link, publish: link.Publish, receive: link.Receive}
		change(b)
		return b
	}
}

func (b *broken) Publish(ctx context.Context, payload []byte) error { return b.publish(ctx, payload) }
func (b *broken) Receive(ctx context.Context, sink bus.Sink) error  { return b.receive(ctx, sink) }
func (b *broken) MaxPayload() int                                   { return b.limit }

// delivering replaces what Deliver does.
func (b *broken) delivering(deliver func(sink bus.Sink, payload []byte)) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		inner := sink
		inner.Deliver = func(payload []byte) { deliver(sink, payload) }
		return b.Faulty.Receive(ctx, inner)
	}
}

// keepsPayload sends what is in the slice when the next payload comes. It does
// so for those of the listed case only, since a Bus uses its slices again in
// other goroutines.
func keepsPayload(b *broken) {
	var kept []byte
	b.publish = func(ctx context.Context, payload []byte) error {
		if len(payload) != 8 {
			return b.Faulty.Publish(ctx, payload)
		}
		late := kept
		kept = payload
		return errors.Join(b.Faulty.Publish(ctx, late), b.Faulty.Publish(ctx, late))
	}
}

func ignoresContext(b *broken) {
	b.publish = func(ctx context.Context, payload []byte) error {
		return b.Faulty.Publish(context.WithoutCancel(ctx), payload)
	}
}

func outlives(b *broken) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		err := b.Faulty.Receive(ctx, sink)
		time.Sleep(time.Minute)
		return err
	}
}

func noReason(b *broken) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		_ = b.Faulty.Receive(ctx, sink) // Losing it is the fault.
		return nil
	}
}

func losesEmpty(b *broken) {
	b.delivering(func(sink bus.Sink, payload []byte) {
		if len(payload) > 0 {
			sink.Deliver(payload)
		}
	})
}

// losesQuestions loses what carries no news, heartbeats left out.
func losesQuestions(b *broken) {
	b.delivering(func(sink bus.Sink, payload []byte) {
		if len(payload) < 3 || payload[0] != 0xf8 || payload[2] < 128 {
			sink.Deliver(payload)
		}
	})
}

func textOnly(b *broken) {
	b.delivering(func(sink bus.Sink, payload []byte) { sink.Deliver([]byte(string([]rune(string(payload))))) })
}

func truncates(b *broken) {
	b.delivering(func(sink bus.Sink, payload []byte) { sink.Deliver(payload[:min(len(payload), 1<<15)]) })
}

func lies(b *broken) { b.limit = 1 << 10 }

// readyEarly calls Ready before there is a subscription.
func readyEarly(b *broken) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		inner := sink
		inner.Ready = func() {}
		sink.Ready()
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
		return b.Faulty.Receive(ctx, inner)
	}
}

// silentReconnect does what many client libraries do.
func silentReconnect(b *broken) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		ready := sink.Ready
		sink.Ready = func() {
			ready()
			ready = func() {}
		}
		for {
			if err := b.Faulty.Receive(ctx, sink); ctx.Err() != nil {
				return err
			}
		}
	}
}

// silentOverflow drops for a slow subscriber without a word.
func silentOverflow(b *broken) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		sink.Gap = func(error) {}
		return b.Faulty.Receive(ctx, sink)
	}
}

// unbounded keeps all payloads until they are taken. Who publishes lets it take
// each one, so that the link under it, which is bounded, loses none.
func unbounded(b *broken) {
	b.publish = func(ctx context.Context, payload []byte) error {
		time.Sleep(time.Nanosecond)
		return b.Faulty.Publish(ctx, payload)
	}
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		var mu sync.Mutex
		var kept [][]byte
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				taken := kept
				kept = nil
				mu.Unlock()
				for _, payload := range taken {
					sink.Deliver(payload)
				}
				time.Sleep(time.Millisecond)
			}
		})
		inner := sink
		inner.Deliver = func(payload []byte) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, slices.Clone(payload))
		}
		err := b.Faulty.Receive(ctx, inner)
		cancel()
		wg.Wait()
		return err
	}
}

// overlaps delivers payloads many times at once: only those of the listed case,
// since a Bus would be corrupted.
func overlaps(b *broken) {
	b.delivering(func(sink bus.Sink, payload []byte) {
		times := 1
		if bytes.HasPrefix(payload, []byte("goroutine")) {
			times = 50
		}
		var wg sync.WaitGroup
		for range times {
			wg.Go(func() { sink.Deliver(payload) })
		}
		wg.Wait()
	})
}

func onlyOnce(b *broken) {
	var once sync.Once
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		err := errors.New("subscribed before")
		once.Do(func() { err = b.Faulty.Receive(ctx, sink) })
		return err
	}
}

// deliversLate goes on until nothing comes any more.
func deliversLate(b *broken) {
	b.receive = func(ctx context.Context, sink bus.Sink) error {
		inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
		context.AfterFunc(ctx, func() { time.AfterFunc(time.Millisecond, cancel) })
		_ = b.Faulty.Receive(inner, sink)
		return ctx.Err()
	}
}

// crosstalk puts all channels on one hub.
func crosstalk() func(*bustest.Faulty) bus.Transport {
	hub := membus.NewHub()
	return func(*bustest.Faulty) bus.Transport { return bustest.NewFaulty(hub.Join()) }
}
