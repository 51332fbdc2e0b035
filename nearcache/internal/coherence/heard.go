package coherence

import (
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	maxHeardOf = 1024 // invalidations that are remembered, the latest
	maxSenders = 1024 // names of nodes that are remembered
)

// Heard is what a message of the bus said of a key, a tag or a cache.
type Heard struct {
	Op       bus.Op
	Revision driver.Revision // zero if the message had none
	At       time.Time       // when it came
	From     string          // name of the node that sent it; empty if it was plain text
	Own      bool            // that is this node
}

// heardLog remembers who said what lately, for people who look. It is written by the
// goroutine of the bus, which it costs a few dozen nanoseconds for each invalidation.
type heardLog struct {
	mu      sync.Mutex        // protects the fields below
	senders map[uint64]string // by incarnation
	latest  []mention         // a ring
	next    int               // place in the ring
}

// mention is one invalidation of a message.
type mention struct {
	space    *Keyspace
	what     uint64 // hash of the key, number of the slot, or 0
	revision driver.Revision
	at       int64  // on the clock of the near tier
	sender   uint64 // its incarnation; 0: plain text
	op       bus.Op
	own      bool
}

// note takes in a message.
func (h *heardLog) note(caches *directory, m *bus.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.senders[m.Incarnation]; !known && m.Incarnation != 0 {
		if h.senders == nil || len(h.senders) >= maxSenders {
			h.senders = make(map[uint64]string)
		}
		h.senders[m.Incarnation] = strings.Clone(m.Node)
	}
	for i := range m.Invalidations {
		inv := &m.Invalidations[i]
		k := caches.find(inv.Cache)
		if k == nil || k.Context.Err() != nil { // or it was closed: see forget
			continue
		}
		one := mention{
			space: k, revision: driver.Revision{Epoch: inv.Epoch, Number: inv.Revision}, at: k.node.Near.Now(),
			sender: m.Incarnation, op: inv.Op, own: m.Own,
		}
		switch inv.Op {
		case bus.OpClear:
		case bus.OpTag:
			one.what = uint64(generation.SlotOf(inv.Key))
		default:
			one.what = k.Space.Hash(inv.Key)
		}
		h.addLocked(one)
	}
}

func (h *heardLog) addLocked(one mention) {
	if len(h.latest) < maxHeardOf {
		h.latest = append(h.latest, one)
		return
	}
	h.latest[h.next] = one
	h.next = (h.next + 1) % maxHeardOf
}

// forget takes out what was said of a keyspace whose context has ended, and with it the keyspace.
func (h *heardLog) forget(k *Keyspace) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.latest {
		if h.latest[i].space == k {
			h.latest[i] = mention{}
		}
	}
}

// find returns the latest of the mentions that match, nil if none does.
func (h *heardLog) find(match func(*mention) bool) *Heard {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.latest {
		m := &h.latest[(h.next+len(h.latest)-1-i)%len(h.latest)]
		if match(m) {
			ago := time.Duration(m.space.node.Near.Now() - m.at)
			return &Heard{Op: m.op, Revision: m.revision, At: time.Now().Add(-ago), From: h.senders[m.sender], Own: m.own}
		}
	}
	return nil
}

// HeardOfKey returns the latest that the bus said of a key: that a write gave it this
// revision, or, if that is zero, whatever it said.
func (k *Keyspace) HeardOfKey(hash uint64, rev driver.Revision) *Heard {
	return k.node.heard.find(func(m *mention) bool {
		return m.space == k && m.op != bus.OpTag && m.op != bus.OpClear && m.what == hash && (rev.Number == 0 || m.revision == rev)
	})
}

// heardOfSlot returns the latest that the bus said of a slot of tags.
func (k *Keyspace) heardOfSlot(slot uint32) *Heard {
	return k.node.heard.find(func(m *mention) bool { return m.space == k && m.op == bus.OpTag && m.what == uint64(slot) })
}

// heardOfClear returns the latest Clear that the bus told of.
func (k *Keyspace) heardOfClear() *Heard {
	return k.node.heard.find(func(m *mention) bool { return m.space == k && m.op == bus.OpClear })
}
