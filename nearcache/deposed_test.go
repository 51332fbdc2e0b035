package nearcache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// halves is a pooled store of which more calls than reads may go to the server that was
// deposed: requests for leases that find a value, and the journal.
type halves struct {
	pooled
	leases, tails atomic.Bool
	readsGo       atomic.Bool // reads go to the primary all the same
}

func (h *halves) ReadProven(ctx context.Context, keys []string) ([][]byte, []shared.Revision, error) {
	if h.readsGo.Load() {
		return h.Store.ReadProven(ctx, keys)
	}
	return h.pooled.ReadProven(ctx, keys)
}

func (h *halves) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := h.ReadProven(ctx, keys)
	return images, err
}

func (h *halves) Acquire(ctx context.Context, leases []shared.Lease) []shared.Grant {
	grants := h.Store.Acquire(ctx, leases)
	if was := h.stale.Load(); was != nil && h.leases.Load() {
		for i := range leases {
			if image := (*was)[leases[i].Key]; image != nil {
				grants[i] = shared.Grant{Status: shared.LeasePresent, Image: image, Now: time.Now()}
			}
		}
	}
	return grants
}

// Tail answers as a server that got no write since it was deposed.
func (h *halves) Tail(ctx context.Context, reads []shared.TailRead) []shared.Tail {
	if h.stale.Load() == nil || !h.tails.Load() {
		return h.Store.Tail(ctx, reads)
	}
	tails := make([]shared.Tail, len(reads))
	for i := range reads {
		tails[i] = shared.Tail{Next: reads[i].From, Now: time.Now()}
	}
	return tails
}

// onHalves is onPooled with options, over a halves.
func onHalves(t *testing.T, opts nearcache.Options[string], test func(t *testing.T, h *halves, a, b *member)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		memory := f.store.Store.(*memstore.Store)
		h := &halves{pooled: pooled{Store: memory}}
		a, b := f.joinOver(h, opts), f.joinOver(memory, opts)
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		wait(2 * time.Second)
		test(t, h, a, b)
	})
}

var names = []string{"users:k", "users!clock", "users!tags"}

// TestG2_FillOnADeposedServer: a refresh of this node stores the new value, and callers get
// it. A fill is in no journal, so the next round lowers the head to before it.
func TestG2_FillOnADeposedServer(t *testing.T) {
	onHalves(t, nearcache.Options[string]{TTL: 20 * time.Second, RefreshAhead: 10 * time.Second}, func(t *testing.T, h *halves, a, b *member) {
		wait(9 * time.Second) // k is to be refreshed
		_, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		h.depose(t, names...) // and what it has is what it had
		was := *h.stale.Load()
		h.stale.Store(nil)
		wait(time.Second)
		_, err = a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		wait(10 * time.Millisecond)
		given, err := a.Lookup(t.Context(), "k", nearcache.Read[string]{FromShared: true})
		require.NoError(t, err)
		require.Equal(t, "new", given.Value)
		h.stale.Store(&was)
		wait(3 * time.Second) // the journal is read
		later, err := a.Lookup(t.Context(), "k", nearcache.Read[string]{FromShared: true, Load: is("new")})
		require.NoError(t, err)
		assert.Equal(t, "new", later.Value)
	})
}

// TestG1_LeaseOfADeposedServer: a request for a lease is answered with the value that is
// there, by a server that is the primary no more. It proves nothing.
func TestG1_LeaseOfADeposedServer(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		h.depose(t, names...)
		was := *h.stale.Load()
		require.NoError(t, a.Delete(t.Context(), "k"))
		h.stale.Store(&was)
		h.leases.Store(true)
		h.readsGo.Store(true)
		got, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", got)
	})
}

// TestG1_JournalOfADeposedServer: an own write was acknowledged. Then reads and the journal
// go to the server that was deposed, whose journal ends before that.
func TestG1_JournalOfADeposedServer(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		h.depose(t, names...)
		h.tails.Store(true)
		require.NoError(t, a.Set(t.Context(), "k", "new"))
		got, err := a.Lookup(t.Context(), "k", nearcache.Read[string]{FromShared: true, Load: is("new")})
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
	})
}

// TestG3_ClearOnADeposedServer: news of a Clear came by bus, as news of a write does.
func TestG3_ClearOnADeposedServer(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		h.depose(t, names...)
		require.NoError(t, b.Clear(t.Context()))
		settle()
		got, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", got)
	})
}

// TestToken_ClearIsProvenByTheRead: a node that never heard of a Clear is given a token of
// it, and can read only a server that does not have it.
func TestToken_ClearIsProvenByTheRead(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		a.link.deaf.Store(true)
		h.depose(t, names...)
		require.NoError(t, b.Clear(t.Context()))
		got, err := a.Lookup(t.Context(), "k", nearcache.Read[string]{After: b.Token("k"), Load: is("new")})
		if err != nil {
			require.ErrorIs(t, err, nearcache.ErrUnproven)
			return
		}
		assert.Equal(t, "new", got.Value)
	})
}
