package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
)

// raiseFarAhead leaves what a Clear and an InvalidateTags leave that were carried out by a
// clock which was a day and an hour ahead.
func (f *fleet) raiseFarAhead() {
	for _, key := range []string{"users!clock", "users!tags"} {
		image := (&driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce()}).Append(nil)
		ahead := uint64(time.Now().Add(25 * time.Hour).UnixMicro())
		r := f.store.Store.Write(f.t.Context(), []driver.Write{{Key: key, Image: image, Floor: ahead}})[0]
		require.NoError(f.t, r.Err)
		require.GreaterOrEqual(f.t, r.Revision.Number, ahead)
	}
}

// TestG4_ClockAheadOfTheJournal: the journal has a clock that was raised on a wrong day
// under lower numbers. A node that hears of Clear and InvalidateTags by the journal alone
// hears of each.
func TestG4_ClockAheadOfTheJournal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(), f.join()
		f.raiseFarAhead()
		for range 3 {
			b.link.deaf.Store(false)
			f.eventually(func() bool { return !b.node.Stats().Bus.Cut })
			for what, end := range map[string]func() error{
				"Clear":          func() error { return a.Clear(t.Context()) },
				"InvalidateTags": func() error { return a.InvalidateTags(t.Context(), "tag") },
			} {
				require.NoError(t, a.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", Tags: []string{"tag"}}))
				time.Sleep(2 * time.Second)
				v, err := b.Get(t.Context(), "k")
				require.NoError(t, err, what)
				require.Equal(t, "old", v)
				b.link.deaf.Store(true)
				require.NoError(t, end())
				time.Sleep(2 * time.Second)
				_, err = b.Get(t.Context(), "k")
				require.ErrorIs(t, err, nearcache.ErrNotFound, what)
				require.NoError(t, a.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "new", Tags: []string{"tag"}}))
				v, err = b.Fetch(t.Context(), "k", none)
				require.NoError(t, err, "%s: what was written since is dead", what)
				require.Equal(t, "new", v)
			}
		}
	})
}

// backwards is a store that answers each write of a clock as if it were years ago.
type backwards struct{ driver.Store }

func (s backwards) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := s.Store.Write(ctx, writes)
	for i := range writes {
		if driver.Kind(writes[i].Image[driver.KindOffset]) == driver.KindWatermark {
			receipts[i].Revision.Number = uint64(i + 1)
		}
	}
	return receipts
}

// TestG1_ClockThatDoesNotRise: a clock that was not raised above what the node knew ended
// nothing, and nobody is told that it did.
func TestG1_ClockThatDoesNotRise(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		entry := nearcache.Entry[string]{Value: "v", Tags: []string{"tag"}}
		require.NoError(t, a.SetEntry(t.Context(), "k", entry))
		require.NoError(t, a.Clear(t.Context()))
		require.NoError(t, a.InvalidateTags(t.Context(), "tag"))
		f.store.Store = backwards{f.store.Store}
		require.ErrorIs(t, a.Clear(t.Context()), nearcache.ErrOutcomeUnknown)
		require.ErrorIs(t, a.InvalidateTags(t.Context(), "tag"), nearcache.ErrOutcomeUnknown)
		assert.Equal(t, 2, a.node.Health().PendingInvalidations)
	})
}

// TestG8_ClockThatNothingIsAbove: clocks that no other can be above are not of this
// library, and are replaced.
func TestG8_ClockThatNothingIsAbove(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		for _, key := range []string{"users!clock", "users!tags"} {
			r := driver.Record{Kind: driver.KindWatermark, Nonce: 1, Revision: driver.Revision{Epoch: 1, Number: 1<<64 - 1}}
			f.store.Store.(interface{ Plant(string, []byte) }).Plant(key, r.Append(nil))
		}
		a, b := f.join(), f.join()
		for range 2 {
			require.NoError(t, a.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "v", Tags: []string{"tag"}}))
			v, err := b.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "v", v)
			require.NoError(t, a.InvalidateTags(t.Context(), "tag"))
			require.NoError(t, b.Clear(t.Context()))
			settle()
			_, err = a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
	})
}
