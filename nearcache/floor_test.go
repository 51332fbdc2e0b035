package nearcache_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// TestG2_BackFromTheSource: while the shared tier was down, or did not take a
// value, its users read newer values from the source. What it still has does
// not bring them back in time.
func TestG2_BackFromTheSource(t *testing.T) {
	one := func(ctx context.Context, m *member) (string, error) { return m.Fetch(ctx, "k", is("new")) }
	many := func(ctx context.Context, m *member) (string, error) {
		got, err := m.FetchMany(ctx, []string{"k"}, isAll("new"))
		return got["k"], err
	}
	for name, fetch := range map[string]func(context.Context, *member) (string, error){"one": one, "many": many} {
		t.Run(name, func(t *testing.T) {
			run := func(off fault.Switches) (v string) {
				journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
					f.store.down()
					wait(6 * time.Second) // the old value is not trusted any more
					var err error
					v, err = fetch(t.Context(), a)
					require.NoError(t, err)
					require.Equal(t, "new", v)
					wait(6 * time.Second) // nor is the new one
					f.store.onBefore(nil)
					wait(2 * time.Second)
					v, err = fetch(t.Context(), a)
					require.NoError(t, err)
					requireNear(t, a, "k", v)
				}, without(off))
				return v
			}
			assert.Equal(t, "new", run(fault.Without()))
			if fault.Compiled {
				assert.Equal(t, "old", run(fault.Without(fault.Floors)), "the test sees what floors are for")
			}
		})
	}
}

// TestG2_BackFromTheSourceAfterTheClockWasSetBack: revisions go on from a clock that was
// ahead. What the shared tier had before it went down has a higher number than its clock,
// and is older than what was loaded meanwhile all the same.
func TestG2_BackFromTheSourceAfterTheClockWasSetBack(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		image := (&driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}).Append(nil)
		ahead := uint64(time.Now().Add(20 * time.Minute).UnixMicro())
		r := f.store.Store.Write(t.Context(), []driver.Write{{Key: "users:other", Image: image, TTL: time.Hour, Floor: ahead}})[0]
		require.NoError(t, r.Err)
		require.Equal(t, ahead, r.Revision.Number)
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		wait(2 * time.Second)
		f.store.down()
		wait(6 * time.Second)
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		require.Equal(t, "new", v)
		f.store.onBefore(nil)
		wait(6 * time.Second)
		v, err = a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestG2_FloorIsPassed: what is written after a load from the source is read
// without another load, and a key that was not loaded is read as ever.
func TestG2_FloorIsPassed(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, b.Set(t.Context(), "other", "v"))
		f.store.down()
		wait(6 * time.Second)
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		require.Equal(t, "new", v)
		f.store.onBefore(nil)
		wait(time.Millisecond)
		require.NoError(t, b.Set(t.Context(), "k", "newer"))
		wait(6 * time.Second)
		v, err = a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		assert.Equal(t, "newer", v)
		v, err = a.Fetch(t.Context(), "other", none)
		require.NoError(t, err)
		assert.Equal(t, "v", v)
	})
}

// TestG2_FloorsOverflow: there is room for so many keys; beyond that, every
// record of before is in doubt.
func TestG2_FloorsOverflow(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, b.Set(t.Context(), "k2", "old"))
		f.store.down()
		keys := make([]string, 1<<16+1)
		for i := range keys {
			keys[i] = strconv.Itoa(i)
		}
		_, err := a.FetchMany(t.Context(), keys, isAll("new"))
		require.NoError(t, err)
		wait(6 * time.Second)
		f.store.onBefore(nil)
		wait(2 * time.Second)
		v, err := b.Get(t.Context(), "k2")
		require.NoError(t, err)
		require.Equal(t, "old", v)
		v, err = a.Fetch(t.Context(), "k2", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestG7_FloorOfAFailedLoad: a load that failed has given nothing that a record
// could be behind, so the record is of use once the shared tier is back.
func TestG7_FloorOfAFailedLoad(t *testing.T) {
	one := func(ctx context.Context, m *member) (string, error) { return m.Fetch(ctx, "k", failing) }
	many := func(ctx context.Context, m *member) (string, error) {
		got, err := m.FetchMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]string, error) {
			return nil, errDown
		})
		return got["k"], err
	}
	for name, fetch := range map[string]func(context.Context, *member) (string, error){"one": one, "many": many} {
		t.Run(name, func(t *testing.T) {
			journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
				f.store.down()
				wait(6 * time.Second) // the value near is not trusted any more
				for range 2 {
					_, err := fetch(t.Context(), a)
					require.ErrorIs(t, err, errDown)
				}
				f.store.onBefore(nil)
				wait(2 * time.Second)
				v, err := a.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.Equal(t, "old", v)
			})
		})
	}
}

// TestG2_FloorStaysWhereItWas: a load that fails does not take away the floor of
// one that succeeded.
func TestG2_FloorStaysWhereItWas(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		f.store.down()
		wait(6 * time.Second)
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		require.Equal(t, "new", v)
		wait(6 * time.Second)
		_, err = a.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown)
		f.store.onBefore(nil)
		wait(2 * time.Second)
		v, err = a.Fetch(t.Context(), "k", is("newest"))
		require.NoError(t, err)
		assert.Equal(t, "newest", v)
	})
}
