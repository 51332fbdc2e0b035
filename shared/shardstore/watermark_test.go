package shardstore_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// clockThatMoves returns the key of a watermark that is at home on c when c has
// keys.
func clockThatMoves(t *testing.T, with *shardstore.Store) string {
	t.Helper()
	for i := range 60 {
		if key := fmt.Sprintf("cache%d!clock", i); homeOf(t, with, key) == "c" {
			return key
		}
	}
	t.Fatal("no clock moves")
	return ""
}

func raise(ctx context.Context, s driver.Store, key string, clock, floor uint64) driver.Receipt {
	r := driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce(), Clock: clock}
	return s.Write(ctx, []driver.Write{{Key: key, Image: r.Append(nil), Floor: floor}})[0]
}

func watermark(t *testing.T, s driver.Store, key string) driver.Record {
	t.Helper()
	images, err := s.Read(t.Context(), []string{key})
	require.NoError(t, err)
	require.NotNil(t, images[0])
	r, err := driver.DecodeRecord(images[0])
	require.NoError(t, err)
	return r
}

// TestHazard1_WatermarksMoveAlong: what was cleared stays cleared when the clock
// of the cache has another home, whose own clock may be behind.
func TestHazard1_WatermarksMoveAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		one := p.open(t, 1, "a", "b", "-c")
		key := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		before := raise(t.Context(), one, key, 77, uint64(time.Now().Add(time.Hour).UnixMicro()))
		require.NoError(t, before.Err)
		two := p.open(t, 2, "a", "b", "c")
		for range 2 {
			r := watermark(t, two, key)
			assert.Equal(t, before.Revision.Number, r.Revision.Number)
			assert.EqualValues(t, 77, r.Clock)
		}
		after := raise(t.Context(), p.open(t, 2, "a", "b", "c"), key, 3, 0)
		require.NoError(t, after.Err)
		assert.Greater(t, after.Revision.Number, before.Revision.Number)
		r := watermark(t, two, key)
		assert.Equal(t, after.Revision.Number, r.Revision.Number)

		three := p.open(t, 3, "a", "b", "-c")
		assert.Equal(t, after.Revision.Number, watermark(t, three, key).Revision.Number, "and back")

		p["c"].down.Store(true)
		four := p.open(t, 3, "a", "b", "-c")
		_, err := four.Read(t.Context(), []string{key})
		require.ErrorIs(t, err, errDown, "nobody can know")
		require.ErrorIs(t, raise(t.Context(), four, key, 0, 0).Err, errDown)
		assert.Equal(t, after.Revision.Number, watermark(t, three, key).Revision.Number, "whoever read it remembers")
	})
}

// TestWatermark_IsNotMadeAnew: whoever asks for the lease of one that has moved
// is shown it, as of the epoch of its journal now, and what is filled goes on
// from it.
func TestWatermark_IsNotMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		one := p.open(t, 1, "a", "b", "-c")
		key := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		before := raise(t.Context(), one, key, 77, uint64(time.Now().Add(time.Hour).UnixMicro()))
		require.NoError(t, before.Err)
		p["c"].BeginEpoch()
		two := p.open(t, 2, "a", "b", "c")
		tail := two.Tail(t.Context(), []driver.TailRead{{Partition: two.Partition(key), Limit: 1}})[0]
		require.NoError(t, tail.Err)
		lease := driver.Record{Kind: driver.KindLease, Nonce: 5}
		ask := driver.Lease{Key: key, Image: lease.Append(nil), TTL: time.Minute}
		grant := two.Acquire(t.Context(), []driver.Lease{ask})[0]
		require.NoError(t, grant.Err)
		require.Equal(t, driver.LeasePresent, grant.Status)
		r, err := driver.DecodeRecord(grant.Image)
		require.NoError(t, err)
		assert.Equal(t, before.Revision.Number, r.Revision.Number)
		assert.Equal(t, tail.Next.Revision.Epoch, r.Revision.Epoch)
		assert.Equal(t, r.Revision, watermark(t, two, key).Revision)

		_, name, err := two.Locate(t.Context(), key)
		require.NoError(t, err)
		ask.Key = name
		// As if it had been granted before the map changed.
		require.NoError(t, p["c"].Acquire(t.Context(), []driver.Lease{ask})[0].Err)
		made := driver.Record{Kind: driver.KindWatermark, Nonce: 5, Clock: 3}
		fill := two.Fill(t.Context(), []driver.Write{{Key: key, Image: made.Append(nil)}})[0]
		require.NoError(t, fill.Err)
		assert.Greater(t, fill.Revision.Number, before.Revision.Number)
		assert.EqualValues(t, 77, watermark(t, two, key).Clock)
	})
}

// TestG7_MovedWatermarkBeforeTheJournalIsRead: a watermark that has moved does not seem to be
// from before a loss of writes to a node that has read no journal yet, and knows the epoch
// of the new home from the same answer.
func TestG7_MovedWatermarkBeforeTheJournalIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		time.Sleep(time.Hour)
		p.replace("c") // its epoch is later than those of the others
		key := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		before := raise(t.Context(), p.open(t, 1, "a", "b", "-c"), key, 77, 0)
		require.NoError(t, before.Err)
		images, heads, err := p.open(t, 2, "a", "b", "c").ReadProven(t.Context(), []string{key})
		require.NoError(t, err)
		r, err := driver.DecodeRecord(images[0])
		require.NoError(t, err)
		require.Less(t, before.Revision.Epoch, heads[0].Epoch)
		assert.Equal(t, driver.Revision{Epoch: heads[0].Epoch, Number: before.Revision.Number}, r.Revision)
	})
}

// TestWatermark_NoneIsRemembered: earlier homes are asked once.
func TestWatermark_NoneIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		p.open(t, 1, "a", "b", "-c")
		s := p.open(t, 2, "a", "b", "c")
		key := clockThatMoves(t, s)
		has(t, s, key, "")
		for name, server := range p {
			server.calls.Store(0)
			server.down.Store(name != "c")
		}
		has(t, s, key, "")
		assert.EqualValues(t, 1, p["c"].calls.Load())
	})
}

// sweep takes away the watermark of key, as whoever has read it.
func sweep(t *testing.T, s driver.Store, key string) error {
	t.Helper()
	r := driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}
	w := driver.Write{Key: key, Image: r.Append(nil), TTL: time.Second, Expect: watermark(t, s, key).Nonce}
	return s.Fill(t.Context(), []driver.Write{w})[0].Err
}

// TestWatermark_SweptOnAnEarlierHome: what was swept there counts for what is written late on
// the new home.
func TestWatermark_SweptOnAnEarlierHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		one := p.open(t, 1, "a", "b", "-c")
		key := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		require.NoError(t, raise(t.Context(), one, key, 77, 0).Err)
		require.True(t, one.Sweeps())
		require.NoError(t, sweep(t, one, key))
		two := p.open(t, 2, "a", "b", "c")
		swept, err := two.Swept(t.Context(), []string{key, key})
		require.NoError(t, err)
		assert.Equal(t, []uint64{77, 77}, swept)
		require.NoError(t, raise(t.Context(), two, key, 3, 0).Err)
		assert.EqualValues(t, 77, watermark(t, two, key).Clock)
		require.NoError(t, sweep(t, two, key), "no earlier home has one")
		require.NoError(t, raise(t.Context(), two, key, 0, 0).Err)
		assert.Zero(t, watermark(t, two, key).Clock, "it is no watermark of a slot")
		require.NoError(t, raise(t.Context(), two, key, 78, 0).Err)
		assert.EqualValues(t, 78, watermark(t, two, key).Clock)
	})
}

// TestWatermark_NotSweptBeforeAnEarlierOne: a sweep must not uncover the watermark of an
// earlier home. Once that has expired, it may be.
func TestWatermark_NotSweptBeforeAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		one := p.open(t, 1, "a", "b", "-c")
		key := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		require.NoError(t, raise(t.Context(), one, key, 77, 0).Err)
		two := p.open(t, 2, "a", "b", "c")
		require.ErrorIs(t, sweep(t, two, key), driver.ErrLeaseLost)
		require.NoError(t, raise(t.Context(), two, key, 78, 0).Err)
		require.ErrorIs(t, sweep(t, two, key), driver.ErrLeaseLost)
		assert.EqualValues(t, 78, watermark(t, two, key).Clock)
	})
}
