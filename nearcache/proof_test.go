package nearcache_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// pooled is a store whose client holds connections to a server that is the primary no
// more, and answers reads as it last was. All else goes to the primary.
type pooled struct {
	*memstore.Store
	stale atomic.Pointer[map[string][]byte] // what the server has that was the primary; nil: reads go to the primary
	head  driver.Revision                   // of that server
}

// depose makes reads of these keys go to a server that has what there is now.
func (p *pooled) depose(t *testing.T, keys ...string) {
	images, heads, err := p.Store.ReadProven(t.Context(), keys)
	require.NoError(t, err)
	was := make(map[string][]byte)
	for i, key := range keys {
		was[key] = images[i]
	}
	p.head = heads[0]
	p.stale.Store(&was)
}

func (p *pooled) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := p.ReadProven(ctx, keys)
	return images, err
}

func (p *pooled) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	images, heads, err := p.Store.ReadProven(ctx, keys)
	if was := p.stale.Load(); was != nil && err == nil {
		for i, key := range keys {
			images[i], heads[i] = (*was)[key], p.head
		}
	}
	return images, heads, err
}

// onPooled runs test with two nodes, the first of which reads over old connections once
// that is asked for. k has been written, and a second has passed.
func onPooled(t *testing.T, off fault.Switches, test func(t *testing.T, f *fleet, p *pooled, a, b *member)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.journal, f.off = true, off
		memory := f.store.Store.(*memstore.Store)
		p := &pooled{Store: memory}
		a, b := f.joinOver(p), f.joinOver(memory)
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		wait(time.Second)
		test(t, f, p, a, b)
	})
}

// TestG4_ConnectionsToADeposedServer: a read over a pooled connection is answered by a
// server that is the primary no more. The journal was read over another connection, which
// says nothing of that one.
func TestG4_ConnectionsToADeposedServer(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		onPooled(t, off, func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
			p.depose(t, "users:k", "users!clock", "users!tags")
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			settle() // a heard of it
			v, _ = a.Fetch(t.Context(), "k", is("new"))
			got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
			if err == nil {
				v = got.Value
			}
		})
		return v
	}
	requireBoth(t, get, fault.Proofs)
}

// TestG4_AServerBehindWhatNobodyTold: the node has not heard of what the answering server
// lacks. It cannot know that the answer is older than its Age, up to the next round, and
// then believes the server no more.
func TestG4_AServerBehindWhatNobodyTold(t *testing.T) {
	const bound = time.Second + 10*time.Millisecond // JournalInterval, and a tick of the clock
	get := func(t *testing.T, off fault.Switches) (late string) {
		onPooled(t, off, func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
			a.link.deaf.Store(true)
			p.depose(t, "users:k", "users!clock", "users!tags")
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			got, err := lookup(t, a, read{FromShared: true})
			require.NoError(t, err)
			assert.Equal(t, nearcache.Result[string]{Value: "old"}, got)
			for written := time.Now(); time.Since(written) < 2*bound; time.Sleep(time.Millisecond) {
				for _, r := range []read{{}, {MaxAge: time.Millisecond}, {FromShared: true}} {
					got, err := lookup(t, a, r, is("new"))
					require.NoError(t, err)
					if time.Since(written) > bound && late != "old" {
						late = got.Value
					}
				}
			}
		})
		return late
	}
	requireBoth(t, get, fault.Proofs)
}

// TestG1_ConnectionsToADeposedServer: nor does a node miss its own write.
func TestG1_ConnectionsToADeposedServer(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		onPooled(t, off, func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
			p.depose(t, "users:k", "users!clock", "users!tags")
			require.NoError(t, a.Set(t.Context(), "k", "new"))
			got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("new")))
			require.NoError(t, err)
			v = got.Value
		})
		return v
	}
	requireBoth(t, get, fault.Proofs)
}

// TestToken_ProvenByTheReadItself: a node that never heard of a write is given a token of
// it, and can read only a server that does not have it.
func TestToken_ProvenByTheReadItself(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		onPooled(t, off, func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
			a.link.deaf.Store(true)
			p.depose(t, "users:k", "users!clock", "users!tags")
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{After: b.Token("k")}, nil)
			if err != nil {
				require.ErrorIs(t, err, nearcache.ErrUnproven)
				return
			}
			v = got.Value
		})
		return v
	}
	requireBoth(t, get, fault.Proofs)
}

// TestProof_ConnectionsAreReplaced: once the connections are those to the primary, reads
// are answered as ever.
func TestProof_ConnectionsAreReplaced(t *testing.T) {
	onPooled(t, fault.Without(), func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
		p.depose(t, "users:k", "users!clock", "users!tags")
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		settle()
		_, err := a.Get(t.Context(), "k")
		require.ErrorIs(t, err, shared.ErrUnread)
		assert.Positive(t, a.node.Stats().Unproven)
		p.stale.Store(nil)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestProof_AnInventedRevision: a message names a revision that no write has, or is as far
// ahead as that of a clock may be. Reads are believed again once the journal was read.
func TestProof_AnInventedRevision(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, 100 * time.Hour} {
		onPooled(t, fault.Without(), func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
			_, heads, err := p.Store.ReadProven(t.Context(), []string{"users:k"})
			require.NoError(t, err)
			require.NoError(t, b.bus.Publish(t.Context(), bus.Invalidation{
				Op: bus.OpInvalidate, Cache: "users", Key: "k", Epoch: heads[0].Epoch, Revision: heads[0].Number + uint64(ahead.Microseconds()),
			}))
			settle()
			v, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "old", v)
			assert.Zero(t, a.node.Stats().Unproven)
		})
	}
}

// slowJournal is a store whose journal takes some milliseconds to read.
type slowJournal struct{ *memstore.Store }

func (s slowJournal) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := s.Store.Tail(ctx, reads)
	time.Sleep(5 * time.Millisecond)
	return tails
}

// TestProof_InventedRevisionsWithoutEnd: messages name numbers that no write has, each higher
// than the one before, all the time. A read waits for one round of the journal at most, beside
// one that is under way, and is believed then. Numbers that are days ahead hold up nobody after
// a while.
func TestProof_InventedRevisionsWithoutEnd(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, 100 * time.Hour} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal = true
			memory := f.store.Store.(*memstore.Store)
			a, b := f.joinOver(slowJournal{memory}), f.joinOver(memory)
			require.NoError(t, b.Set(t.Context(), "k", "old"))
			_, heads, err := memory.ReadProven(t.Context(), []string{"users:k"})
			require.NoError(t, err)
			invented := heads[0].Number + uint64(ahead.Microseconds())
			ctx, stop := context.WithCancel(t.Context())
			var sender sync.WaitGroup
			defer sender.Wait()
			defer stop()
			sender.Go(func() {
				for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
					invented++
					_ = b.bus.Publish(ctx, bus.Invalidation{
						Op: bus.OpInvalidate, Cache: "users", Key: "other", Epoch: heads[0].Epoch, Revision: invented,
					})
				}
			})
			for began := time.Now(); time.Since(began) < 20*time.Second; wait(99 * time.Millisecond) {
				start := time.Now()
				got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
				require.NoError(t, err)
				require.Equal(t, "old", got.Value)
				require.LessOrEqual(t, time.Since(start), 20*time.Millisecond)
				if ahead > 24*time.Hour && start.Sub(began) > 6*time.Second {
					require.Zero(t, time.Since(start))
				}
			}
			assert.Zero(t, a.node.Stats().Unproven)
		})
	}
}
