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
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// setBack is a store of two servers, of which the second takes the place of the first: it
// has lost everything, and its clock is behind, so its epoch is an earlier one.
type setBack struct {
	*twoServers
	mute atomic.Bool // the journal is not answered
}

func (s *setBack) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := s.twoServers.Tail(ctx, reads)
	for i := range tails {
		if s.mute.Load() {
			tails[i] = driver.Tail{Err: shared.ErrUnavailable}
		}
	}
	return tails
}

// onSetBack runs test with two nodes that have written to the first server, where
// the clock of the cache is ahead of that of the server.
func onSetBack(t *testing.T, test func(t *testing.T, s *setBack, a, b *member)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		first := f.store.Store.(*memstore.Store)
		s := &setBack{twoServers: newTwoServers(first, promotedOf(t, first))}
		s.moved.Store(true)
		clock := driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce()}
		ahead := uint64(time.Now().Add(48 * time.Hour).UnixMicro())
		require.NoError(t, s.Store.Write(t.Context(), []driver.Write{{Key: names[1], Image: clock.Append(nil), Floor: ahead}})[0].Err)
		a, b := f.joinOver(s), f.joinOver(s)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		wait(2 * time.Second)
		test(t, s, a, b)
	})
}

// TestDeposition_EndsForTokensAndBarriers: once it has ended, what a node was told that it
// wrote to the first server is asked of nobody any more.
func TestDeposition_EndsForTokensAndBarriers(t *testing.T) {
	onSetBack(t, func(t *testing.T, s *setBack, a, b *member) {
		s.moved.Store(false)
		wait(40 * time.Second)
		require.True(t, a.node.Health().Trusted)
		require.NoError(t, a.Set(t.Context(), "k", "new"))
		got, err := b.Read(t.Context(), "k", nearcache.ReadOptions{After: a.Token("k")}, nil)
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err = a.node.Barrier(ctx, nearcache.BarrierOptions{AtLeast: 1})
		assert.NoError(t, err)
	})
}

// TestDeposition_EndsWithAWatermark: it ends when a Clear is answered, which goes on from
// what the clock of the cache was, ahead of the clock of this server. Reads are believed.
func TestDeposition_EndsWithAWatermark(t *testing.T) {
	onSetBack(t, func(t *testing.T, s *setBack, a, b *member) {
		s.moved.Store(false)
		wait(25 * time.Second)
		s.mute.Store(true)
		wait(7 * time.Second)
		_ = a.Clear(t.Context())
		s.mute.Store(false)
		wait(5 * time.Second)
		require.True(t, a.node.Health().Trusted)
		require.NoError(t, a.Set(t.Context(), "k", "new"))
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
	})
}

// TestG7_PromotedServerWithAClockBehind: the clock of the server that was deposed was ahead
// of the other one's. What is stored there from now on is a hit all the same.
func TestG7_PromotedServerWithAClockBehind(t *testing.T) {
	onTwoServers(t, func(t *testing.T, s *twoServers, a, b *member) {
		r := driver.Record{Kind: driver.KindValue, Nonce: driver.NewNonce()}
		ahead := uint64(time.Now().Add(time.Hour).UnixMicro())
		require.NoError(t, s.deposed.Write(t.Context(), []driver.Write{{Key: "users:x", Image: r.Append(nil), Floor: ahead}})[0].Err)
		_, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		s.moved.Store(true)
		wait(2 * time.Second)
		for range 2 { // what was there before is replaced
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			wait(time.Second)
			_, _ = a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		}
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
	})
}
