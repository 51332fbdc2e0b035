package nearcache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// halves is a pooled store of which more calls than reads may go to the server that was
// deposed: requests for leases that find a value, and the journal.
type halves struct {
	pooled
	leases, tails atomic.Bool
	readsGo       atomic.Bool // reads go to the primary all the same
}

func (h *halves) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	if h.readsGo.Load() {
		return h.Store.ReadProven(ctx, keys)
	}
	return h.pooled.ReadProven(ctx, keys)
}

func (h *halves) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := h.ReadProven(ctx, keys)
	return images, err
}

func (h *halves) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := h.Store.Acquire(ctx, leases)
	if was := h.stale.Load(); was != nil && h.leases.Load() {
		for i := range leases {
			if image := (*was)[leases[i].Key]; image != nil {
				grants[i] = driver.Grant{Status: driver.LeasePresent, Image: image, Now: time.Now()}
			}
		}
	}
	return grants
}

// Tail answers as a server that got no write since it was deposed.
func (h *halves) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	if h.stale.Load() == nil || !h.tails.Load() {
		return h.Store.Tail(ctx, reads)
	}
	tails := make([]driver.Tail, len(reads))
	for i := range reads {
		tails[i] = driver.Tail{Next: reads[i].From, Now: time.Now()}
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
		given, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		require.Equal(t, "new", given.Value)
		h.stale.Store(&was)
		wait(3 * time.Second) // the journal is read
		later, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("new")))
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
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("new")))
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
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{After: b.Token("k")}, nearcache.ValueLoader(is("new")))
		if err != nil {
			require.ErrorIs(t, err, nearcache.ErrUnproven)
			return
		}
		assert.Equal(t, "new", got.Value)
	})
}

// TestG4_ALaterEpochIsHeardOf: a node reaches only a server that was deposed, and hears on
// the bus what others write to the one that was promoted, which is in a later epoch. The
// journal of the first, read as often as it may be, does not make its answers believable.
func TestG4_ALaterEpochIsHeardOf(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		h.tails.Store(true)
		h.depose(t, names...)
		h.BeginEpoch()
		wait(2 * time.Second) // b has read of it
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		for range 5 {
			wait(time.Second)
			_, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
			require.ErrorIs(t, err, shared.ErrUnread)
		}
		assert.ErrorContains(t, a.node.Health().Journal, "not the one that has the latest writes")
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("new")))
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)

		h.stale.Store(nil) // a reaches the other one
		wait(2 * time.Second)
		require.NoError(t, b.Set(t.Context(), "k", "newer"))
		got, err = a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		assert.Equal(t, "newer", got.Value)
		assert.True(t, a.node.Health().Trusted)
	})
}

// TestG4_ARecordOfBeforeAnEpochThatIsHeardOf: the server lost writes, and has a record that
// this node never heard of, with a number above all that it did. The bus tells of the later
// epoch before the journal does. What a lost write may have replaced is not read.
func TestG4_ARecordOfBeforeAnEpochThatIsHeardOf(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		h.depose(t, names...)
		h.tails.Store(true) // the journal tells nothing new
		h.readsGo.Store(true)
		a.link.deaf.Store(true)
		require.NoError(t, b.Set(t.Context(), "k", "older than what was lost"))
		h.BeginEpoch()
		wait(2 * time.Second) // b has read of it
		a.link.deaf.Store(false)
		require.NoError(t, b.Set(t.Context(), "other", "x"))
		settle()
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("new")))
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
	})
}

// TestProof_NewsWithoutAnEpoch: a message that names no epoch, as nobody of this library sends
// one, is not of a server that was deposed. What is there stays of use.
func TestProof_NewsWithoutAnEpoch(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		_, heads, err := h.Store.ReadProven(t.Context(), names[:1])
		require.NoError(t, err)
		require.NoError(t, b.bus.Publish(t.Context(), bus.Invalidation{
			Op: bus.OpInvalidate, Cache: "users", Key: "k", Revision: heads[0].Number,
		}))
		settle()
		got, err := a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		assert.Equal(t, "old", got)
	})
}

// TestDeposition_Ends: a message names an epoch that never began. The node is without its
// shared tier until nothing more is heard of that epoch for half a minute.
func TestDeposition_Ends(t *testing.T) {
	onHalves(t, nearcache.Options[string]{}, func(t *testing.T, h *halves, a, b *member) {
		_, heads, err := h.Store.ReadProven(t.Context(), names[:1])
		require.NoError(t, err)
		require.NoError(t, b.bus.Publish(t.Context(), bus.Invalidation{
			Op: bus.OpInvalidate, Cache: "users", Key: "k", Epoch: heads[0].Epoch + 1, Revision: heads[0].Number,
		}))
		wait(20 * time.Second)
		assert.False(t, a.node.Health().Trusted)
		_, err = a.Get(t.Context(), "k")
		require.ErrorIs(t, err, shared.ErrUnread)
		wait(12 * time.Second)
		assert.True(t, a.node.Health().Trusted)
		got, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", got)
		wait(time.Second)
		stored, err := b.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err, "what was loaded is stored again")
		assert.Equal(t, "new", stored.Value)
	})
}

// routed is a store that asks at which server it is for each call.
type routed struct {
	*memstore.Store
	at func() *memstore.Store
}

func (r *routed) Read(ctx context.Context, keys []string) ([][]byte, error) {
	return r.at().Read(ctx, keys)
}

func (r *routed) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	return r.at().ReadProven(ctx, keys)
}

func (r *routed) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return r.at().Write(ctx, writes)
}

func (r *routed) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return r.at().Fill(ctx, writes)
}

func (r *routed) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	return r.at().Acquire(ctx, leases)
}

func (r *routed) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	return r.at().Tail(ctx, reads)
}

// twoServers is a store whose client reaches one of two servers: the one that was deposed
// and goes on taking writes, or the one that was promoted with what the first had.
type twoServers struct {
	routed
	deposed *memstore.Store
	moved   atomic.Bool
}

func newTwoServers(deposed, promoted *memstore.Store) *twoServers {
	s := &twoServers{deposed: deposed}
	s.routed = routed{promoted, func() *memstore.Store {
		if s.moved.Load() {
			return promoted
		}
		return deposed
	}}
	return s
}

// promotedOf returns a server that was promoted in place of one: it names the same shared
// tier, and began an epoch.
func promotedOf(t *testing.T, one *memstore.Store) *memstore.Store {
	t.Helper()
	wait(time.Millisecond) // epochs rise with time
	promoted := memstore.New(memstore.Options{})
	identity := driver.Record{Kind: driver.KindValue, Nonce: driver.NewNonce(), Value: []byte("theirs")}
	for _, server := range []*memstore.Store{one, promoted} {
		require.NoError(t, server.Write(t.Context(), []driver.Write{{Key: "!tier", Image: identity.Append(nil)}})[0].Err)
	}
	return promoted
}

// onTwoServers runs test with two nodes. The server of the first, on which k is "old", was
// deposed; that of the second began an epoch.
func onTwoServers(t *testing.T, test func(t *testing.T, s *twoServers, a, b *member)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		first := f.store.Store.(*memstore.Store)
		s := newTwoServers(first, promotedOf(t, first))
		a, b := f.joinOver(s), f.joinOver(s.Store)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		wait(2 * time.Second)
		test(t, s, a, b)
	})
}

// TestG1_WriteOnADeposedServer: what a node was told that it wrote is lost, and the other
// server has an older value, loaded when the epoch there had begun. The node does not read
// it; nor do others that heard of the write.
func TestG1_WriteOnADeposedServer(t *testing.T) {
	onTwoServers(t, func(t *testing.T, s *twoServers, a, b *member) {
		_, err := b.Fetch(t.Context(), "k", is("v1"))
		require.NoError(t, err)
		require.NoError(t, a.Set(t.Context(), "k", "v2"))
		s.moved.Store(true)
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("v2")))
		require.NoError(t, err)
		assert.Equal(t, "v2", got.Value)
		settle()
		v, err := b.Fetch(t.Context(), "k", is("v2"))
		require.NoError(t, err)
		assert.Equal(t, "v2", v)
	})
}

// TestG2_ReadOnADeposedServer: nor does a node go back that had read the lost write, and
// heard of it by nothing else.
func TestG2_ReadOnADeposedServer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		first := f.store.Store.(*memstore.Store)
		promoted := promotedOf(t, first)
		writes, reads := newTwoServers(first, promoted), newTwoServers(first, promoted)
		writer, reader := f.joinOver(writes), f.joinOver(reads)
		reader.link.deaf.Store(true)
		require.NoError(t, writer.Set(t.Context(), "k", "old"))
		wait(2 * time.Second)
		b := f.joinOver(promoted)
		_, err := b.Fetch(t.Context(), "k", is("v1"))
		require.NoError(t, err)
		require.NoError(t, writer.Set(t.Context(), "k", "v2"))
		got, err := reader.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		require.Equal(t, "v2", got.Value)
		reads.moved.Store(true)
		got, err = reader.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("v2")))
		require.NoError(t, err)
		assert.Equal(t, "v2", got.Value)
	})
}

// TestG3_ALostWriteIsHeardOf: a node that reads the server that was promoted hears of a
// write to the other one. It is lost, and the value that is there may be older. Both servers
// may go on from numbers ahead of their clocks, which were set back.
func TestG3_ALostWriteIsHeardOf(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"clocks are right": 0, "clocks were set back": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			onTwoServers(t, func(t *testing.T, s *twoServers, a, b *member) {
				goOnFrom(t, s.deposed, ahead)
				goOnFrom(t, s.Store, ahead)
				_, err := b.Fetch(t.Context(), "k", is("v1"))
				require.NoError(t, err)
				require.NoError(t, a.Set(t.Context(), "k", "v2"))
				settle()
				got, err := b.Fetch(t.Context(), "k", is("v2"))
				require.NoError(t, err)
				assert.Equal(t, "v2", got)
			})
		})
	}
}

// TestG1_WriteOnAServerKnownToBeDeposed: the node has heard of the later epoch, so it knows
// that what this server takes is lost. The write fails, and is owed to the other one.
func TestG1_WriteOnAServerKnownToBeDeposed(t *testing.T) {
	onTwoServers(t, func(t *testing.T, s *twoServers, a, b *member) {
		_, err := a.Get(t.Context(), "k") // it knows the clock, and reads nothing to write
		require.NoError(t, err)
		_, err = b.Fetch(t.Context(), "k", is("v1"))
		require.NoError(t, err)
		require.NoError(t, b.Set(t.Context(), "other", "x"))
		settle()
		require.ErrorIs(t, a.Set(t.Context(), "k", "v2"), nearcache.ErrOutcomeUnknown)
		require.Positive(t, a.node.Health().PendingInvalidations)
		s.moved.Store(true)
		wait(5 * time.Second)
		require.Zero(t, a.node.Health().PendingInvalidations)
		got, err := b.Fetch(t.Context(), "k", is("v2"))
		require.NoError(t, err)
		assert.Equal(t, "v2", got)
	})
}
