package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// setBack leaves the store as one is whose clock was set back by ten minutes: revisions go
// on from the last one, which is ahead of the clock.
func (p *pooled) setBack(t *testing.T, _ *member) {
	t.Helper()
	goOnFrom(t, p.Store, 10*time.Minute)
}

// goOnFrom has revisions of a store go on from one that is ahead of its clock.
func goOnFrom(t *testing.T, store *memstore.Store, ahead time.Duration) {
	t.Helper()
	image := (&driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}).Append(nil)
	least := uint64(time.Now().Add(ahead).UnixMicro())
	r := store.Write(t.Context(), []driver.Write{{Key: "users:other", Image: image, Floor: least}})[0]
	require.NoError(t, r.Err)
	require.GreaterOrEqual(t, r.Revision.Number, least)
}

// raiseDaysAhead leaves clocks of the cache as they are after they were raised when the clock
// of the server was in another week: ahead of the journal, see driver.Write.Floor.
func (p *pooled) raiseDaysAhead(t *testing.T, b *member) {
	t.Helper()
	for _, key := range []string{"users!clock", "users!tags"} {
		image := (&driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce()}).Append(nil)
		ahead := uint64(time.Now().Add(7 * 24 * time.Hour).UnixMicro())
		require.NoError(t, p.Write(t.Context(), []driver.Write{{Key: key, Image: image, Floor: ahead}})[0].Err)
	}
	require.NoError(t, b.Clear(t.Context()))
	require.NoError(t, b.InvalidateTags(t.Context(), "t"))
	wait(time.Second)
}

// skews are what the clock of a server leaves behind that was wrong.
var skews = map[string]func(*pooled, *testing.T, *member){"set back": (*pooled).setBack, "days ahead": (*pooled).raiseDaysAhead}

// ends are writes that end a value of key k with the tag t, beside Set.
var ends = map[string]func(context.Context, *member) error{
	"Clear":          func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	"InvalidateTags": func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "t") },
	"Delete":         func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
}

// onSkewed runs test for each skew and each end. Node a heard of everything until then, and
// of what follows reads a server that does not have it.
func onSkewed(t *testing.T, off fault.Switches, test func(t *testing.T, a, b *member, end func(context.Context, *member) error)) {
	t.Helper()
	for when, skew := range skews {
		for what, end := range ends {
			t.Run(when+"/"+what, func(t *testing.T) {
				onPooled(t, off, func(t *testing.T, _ *fleet, p *pooled, a, b *member) {
					skew(p, t, b)
					require.NoError(t, b.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", Tags: []string{"t"}}))
					wait(2 * time.Second)
					got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
					require.NoError(t, err)
					require.Equal(t, "old", got.Value)
					p.depose(t, "users:k", "users!clock", "users!tags", slotKey("t"))
					test(t, a, b, end)
				})
			})
		}
	}
}

// TestToken_AfterTheClockWasSetBack: a token stands for a Clear or an InvalidateTags, whose
// number is ahead of the server's clock. It is not answered by a server that does not have it.
func TestToken_AfterTheClockWasSetBack(t *testing.T) {
	onSkewed(t, fault.Without(), func(t *testing.T, a, b *member, end func(context.Context, *member) error) {
		a.link.deaf.Store(true)
		require.NoError(t, end(t.Context(), b))
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{After: b.Token("k")}, nil)
		assert.ErrorIs(t, err, nearcache.ErrUnproven, got.Value)
	})
}

// TestG3_AfterTheClockWasSetBack: nor is a node that heard of it by bus.
func TestG3_AfterTheClockWasSetBack(t *testing.T) {
	onSkewed(t, fault.Without(), func(t *testing.T, a, b *member, end func(context.Context, *member) error) {
		require.NoError(t, end(t.Context(), b))
		settle()
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(is("new")))
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
	})
}
