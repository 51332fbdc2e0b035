package nearcache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// homes is a store of two servers, a partition each. All keys are on the first until they
// move to the second, which they do while a read or a write is answered.
type homes struct {
	routed
	second *memstore.Store
	moves  atomic.Bool // with the next answer
	moved  atomic.Bool
}

func (h *homes) home() *memstore.Store {
	at := h.server(h.Partition(""))
	if h.moves.Load() {
		h.moved.Store(true)
	}
	return at
}

func (h *homes) server(partition int) *memstore.Store {
	return []*memstore.Store{h.Store, h.second}[partition]
}

func (h *homes) Partitions() int { return 2 }

func (h *homes) Partition(string) int {
	if h.moved.Load() {
		return 1
	}
	return 0
}

func (h *homes) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	return h.server(h.Partition("")).Acquire(ctx, leases)
}

func (h *homes) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := make([]driver.Tail, len(reads))
	for i, r := range reads {
		tails[i] = h.server(r.Partition).Tail(ctx, []driver.TailRead{{From: r.From, Limit: r.Limit}})[0]
	}
	return tails
}

// TestG7_AKeyMovesMeanwhile: a key moves to another server while an answer of the one
// before is on its way. That says nothing of the server where the key is now, whichever
// has the later epoch: it is believed, and what it had before is a hit.
func TestG7_AKeyMovesMeanwhile(t *testing.T) {
	for name, call := range map[string]func(t *testing.T, m *member){
		"read": func(t *testing.T, m *member) {
			_, _ = m.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		},
		"write": func(t *testing.T, m *member) { _ = m.Set(t.Context(), "k", "v") },
	} {
		for _, firstIsLater := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.journal = true
					h := &homes{}
					h.routed = routed{f.store.Store.(*memstore.Store), h.home}
					wait(time.Second) // epochs rise with time
					h.second = memstore.New(memstore.Options{})
					if firstIsLater {
						h.Store, h.second = h.second, h.Store
					}
					m, other := f.joinOver(h), f.joinOver(h)
					require.NoError(t, m.Set(t.Context(), "k", "v"))
					h.moved.Store(true)
					require.NoError(t, other.Set(t.Context(), "there", "v"))
					h.moved.Store(false)
					wait(10 * time.Second)
					require.NoError(t, m.Set(t.Context(), "l", "v"))
					h.moves.Store(true)
					call(t, m)
					wait(5 * time.Second)
					assert.True(t, m.node.Health().Trusted, "%v", m.node.Health())
					got, err := m.Read(t.Context(), "there", nearcache.ReadOptions{FromShared: true}, nil)
					require.NoError(t, err)
					assert.Equal(t, "v", got.Value)
					assert.NoError(t, m.Set(t.Context(), "k", "w"))
				})
			})
		}
	}
}
