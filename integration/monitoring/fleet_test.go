package monitoring_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearprom"
	"github.com/nearbus/nearbus/shared/memstore"
)

// fleet is servers over one store and one bus in memory, in a bubble.
type fleet struct {
	recording
	t       *testing.T
	opts    options
	memory  *memstore.Store
	hub     *membus.Hub
	began   time.Time
	servers []*server
	work    sync.WaitGroup
	ctx     context.Context // of the work
}

// options are those of servers.
type options struct {
	node  nearcache.NodeOptions
	cache nearcache.Options[string]
	spans *spans // nil: nobody traces
}

// server is one of a fleet, with what is broken about it.
type server struct {
	name    string
	node    *nearcache.Node
	users   *nearcache.Cache[string]
	metrics prometheus.Collector
	stop    context.CancelFunc // ends its work
	faults
}

var errBroken = errors.New("monitoring: broken by the test")

// inFleet runs a test on three servers at work, and returns what the scrapes brought.
func inFleet(t *testing.T, opts options, test func(f *fleet)) (r recording) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, opts: opts, memory: memstore.New(memstore.Options{}), hub: membus.NewHub(), began: time.Now()}
		f.series = make(map[string][]string)
		ctx, cancel := context.WithCancel(t.Context())
		f.ctx = ctx
		for range 3 {
			f.join(f.memory, f.hub, opts)
		}
		test(f)
		cancel()
		f.work.Wait()
		for _, s := range f.servers {
			_ = s.node.Close(ctx) // which has ended
		}
		r = f.recording
	})
	return r
}

// join adds a server.
func (f *fleet) join(memory *memstore.Store, hub *membus.Hub, opts options) {
	f.t.Helper()
	s := &server{name: fmt.Sprintf("server-%d", len(f.servers)+1)}
	traces := f.opts.spans
	store, transport := &brokenStore{memory, &s.faults, traces}, &brokenTransport{hub.Join(), &s.faults, traces}
	open := nearcache.OpenOptions{Bus: bus.Options{Node: s.name}, Node: opts.node}
	if traces != nil {
		traces.telemetry.Instrument(&open)
		traces.servers = append(traces.servers, s)
	}
	var err error
	s.node, err = nearcache.Open(f.t.Context(), store, transport, open)
	require.NoError(f.t, err)
	s.users, err = nearcache.New(s.node, "users", opts.cache)
	require.NoError(f.t, err)
	s.metrics = nearprom.New(s.node)
	f.servers = append(f.servers, s)
	ctx, cancel := context.WithCancel(f.ctx)
	s.stop = cancel
	if traces == nil {
		f.work.Go(func() { s.serve(ctx) })
		return
	}
	for range 3 {
		f.work.Go(func() { traces.serve(ctx, s) })
	}
}

// serve does what a service does, until ctx ends: it rests between bursts, because a node that
// nobody asks has next to nothing to simulate.
func (s *server) serve(ctx context.Context) {
	for ctx.Err() == nil {
		for range 20 {
			s.work(ctx)
		}
		time.Sleep(rand.N(10 * time.Second))
	}
}

func (s *server) work(ctx context.Context) {
	key := fmt.Sprint(rand.IntN(50))
	switch rand.IntN(20) {
	case 0:
		_ = s.users.Set(ctx, key, "v")
	case 1:
		_ = s.users.Invalidate(ctx, key)
	default:
		_, _ = s.users.Fetch(ctx, key, func(context.Context, string) (string, error) {
			if s.sourceDown.Load() {
				return "", errBroken
			}
			return "v", nil
		})
	}
}

// runUntil scrapes until so long after the begin.
func (f *fleet) runUntil(end time.Duration) {
	f.t.Helper()
	for ; time.Since(f.began) < end; time.Sleep(time.Until(f.began.Add(time.Duration(f.scrapes) * scrapeInterval))) {
		f.scrape(f.t, f.servers)
	}
}

// leave ends the server that joined last.
func (f *fleet) leave() {
	f.t.Helper()
	last := f.servers[len(f.servers)-1]
	f.servers = f.servers[:len(f.servers)-1]
	last.stop()
	require.NoError(f.t, last.node.Close(f.t.Context()))
}
