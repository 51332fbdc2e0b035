package membus_test

import (
	"context"
	"sync"
	"testing"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/membus"
)

// hubs holds one hub for each channel.
type hubs struct {
	mu    sync.Mutex // protects the following fields
	hubs  map[string]*membus.Hub
	links map[string][]*bustest.Faulty
}

func (h *hubs) join(channel string) *membus.Transport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hubs[channel] == nil {
		h.hubs[channel] = membus.NewHub()
	}
	return h.hubs[channel].Join()
}

func newHubs() *hubs {
	return &hubs{hubs: make(map[string]*membus.Hub), links: make(map[string][]*bustest.Faulty)}
}

func TestConformance(t *testing.T) {
	h := newHubs()
	bustest.Run(t, bustest.Harness{
		Join: func(channel string) (bus.Transport, error) { return h.join(channel), nil },
	}, true)
}

// Memory has no connections to lose, so they are put in between.
func TestConformance_WithLostConnections(t *testing.T) {
	h := newHubs()
	bustest.Run(t, bustest.Harness{Join: h.joinLink, Break: h.breakLinks}, true)
}

func (h *hubs) joinLink(channel string) (bus.Transport, error) {
	link := bustest.NewFaulty(h.join(channel))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links[channel] = append(h.links[channel], link)
	return link, nil
}

func (h *hubs) breakLinks(_ context.Context, channel string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, link := range h.links[channel] {
		link.Cut()
	}
	return nil
}
