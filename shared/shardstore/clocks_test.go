package shardstore_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// apart are servers whose clocks are ten minutes apart, and the names of two.
func apart() park {
	p := newPark("behind", "here", "ahead")
	p["behind"].ahead, p["ahead"].ahead = -10*time.Minute, 10*time.Minute
	return p
}

// onEach returns a key of each shard.
func onEach(t *testing.T, s *shardstore.Store) map[string]string {
	t.Helper()
	on := map[string]string{}
	for _, key := range keys(60) {
		on[homeOf(t, s, key)] = key
	}
	return on
}

// TestClocks_TenMinutesApart: deadlines, lifetimes and leases are those of the
// caller, whatever the clock of the shard says.
func TestClocks_TenMinutesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apart()
		s := p.open(t, 1, "behind", "here", "ahead")
		tier, err := shared.New(s, shared.Options{})
		require.NoError(t, err)
		tier = tier.Records() // keys are placed by their names
		on := onEach(t, s)
		require.Len(t, on, 3)
		for home, key := range on {
			require.NoError(t, tier.Set(t.Context(), key, []byte("v"), time.Minute), home)
			found, err := tier.Read(t.Context(), []string{key})
			require.NoError(t, err)
			require.NoError(t, found[0].Err, home)
			assert.InDelta(t, time.Minute, found[0].Left, float64(time.Millisecond), home)

			late := driver.Record{Kind: driver.KindValue, Nonce: 1, Value: []byte("late")}
			r := s.Write(t.Context(), []driver.Write{{Key: key, Image: late.Append(nil), NotAfter: time.Now().Add(-time.Millisecond)}})[0]
			require.ErrorIs(t, r.Err, driver.ErrTooLate, home)
			assert.WithinDuration(t, time.Now(), r.Now, time.Millisecond)

			// A record that proved unusable is replaced, though its expiry was
			// translated.
			got := tier.Acquire(t.Context(), []shared.Claim{{Key: key, Token: 9, Discard: found[0].Header}})[0]
			require.NoError(t, got.Err)
			assert.Equal(t, driver.LeaseGranted, got.Status, home)
		}
		assert.Zero(t, tier.Stats().TooLate)
		time.Sleep(time.Hour)
		for home, key := range on {
			require.NoError(t, tier.Set(t.Context(), key, []byte("v"), time.Minute), home)
			r := tier.Write(t.Context(), []shared.Put{{Key: key, Record: driver.Record{Kind: driver.KindValue}, TTL: time.Minute}})[0]
			require.NoError(t, r.Err)
			assert.Greater(t, tier.Newest(key), uint64(time.Now().Add(p[home].ahead).UnixMicro()), home)
			assert.Less(t, tier.Newest(key), uint64(time.Now().Add(p[home].ahead+time.Second).UnixMicro()), home)
		}
	})
}

// TestClocks_OfAnotherServer: the clock of a shard whose server was replaced is
// learned from its first answer.
func TestClocks_OfAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b")
		s := p.open(t, 1, "a", "b")
		tier, err := shared.New(s, shared.Options{})
		require.NoError(t, err)
		for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
			p["a"].ahead, p["b"].ahead = ahead, ahead
			for _, key := range keys(20) {
				require.NoError(t, tier.Set(t.Context(), key, []byte("v"), time.Minute))
				_, err := tier.Get(t.Context(), key)
				require.NoError(t, err)
			}
		}
	})
}

// TestG7_OneShardDown: its keys fail, and those of the others do not. Nothing
// moves.
func TestG7_OneShardDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		s := p.open(t, 1, "a", "b", "c")
		all := keys(60)
		for _, key := range all {
			require.NoError(t, put(t.Context(), s, key, "before"))
		}
		p["b"].down.Store(true)
		images, err := s.Read(t.Context(), all)
		var partial *driver.PartialError
		require.ErrorAs(t, err, &partial)
		for i, key := range all {
			if homeOf(t, s, key) != "b" {
				require.NoError(t, partial.Errs[i])
				require.NotNil(t, images[i])
				require.NoError(t, put(t.Context(), s, key, "meanwhile"))
				continue
			}
			require.ErrorIs(t, partial.Errs[i], errDown)
			require.ErrorContains(t, partial.Errs[i], `shard "b"`)
			require.ErrorIs(t, put(t.Context(), s, key, "meanwhile"), errDown)
		}
		leases, fills := make([]driver.Lease, 60), make([]driver.Write, 60)
		for i := range leases {
			key := "leased" + strconv.Itoa(i)
			r := driver.Record{Kind: driver.KindLease, Nonce: uint64(i + 1)}
			leases[i] = driver.Lease{Key: key, Image: r.Append(nil), TTL: time.Minute}
			r.Kind = driver.KindValue
			fills[i] = driver.Write{Key: key, Image: r.Append(nil)}
		}
		grants, receipts := s.Acquire(t.Context(), leases), s.Fill(t.Context(), fills)
		for i, l := range leases {
			if homeOf(t, s, l.Key) != "b" {
				require.NoError(t, grants[i].Err)
				require.Equal(t, driver.LeaseGranted, grants[i].Status)
				require.NoError(t, receipts[i].Err)
				continue
			}
			require.ErrorIs(t, grants[i].Err, errDown)
			require.ErrorContains(t, receipts[i].Err, `shard "b"`)
		}
		time.Sleep(time.Minute)
		p["b"].down.Store(false)
		for _, key := range all {
			want := "meanwhile"
			if homeOf(t, s, key) == "b" {
				want = "before"
			}
			has(t, s, key, want)
		}
	})
}

// TestG7_OneShardHangs: it takes some time of those who ask for several shards,
// and nothing else.
func TestG7_OneShardHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		s := p.open(t, 1, "a", "b", "c")
		on := onEach(t, s)
		reads := make([]driver.TailRead, 3)
		for i, key := range []string{on["a"], on["b"], on["c"]} {
			require.NoError(t, put(t.Context(), s, key, "v"))
			reads[i] = driver.TailRead{Partition: i, Limit: 10}
		}
		p["b"].hangs.Store(true)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			images, err := s.Read(ctx, []string{on["a"], on["b"], on["c"]})
			cancel()
			var partial *driver.PartialError
			require.ErrorAs(t, err, &partial)
			require.ErrorIs(t, partial.Errs[1], context.DeadlineExceeded)
			require.NotNil(t, images[0])
			require.NotNil(t, images[2])

			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			tails := s.Tail(ctx, reads)
			cancel()
			require.NoError(t, tails[0].Err)
			require.Error(t, tails[1].Err)
			require.NoError(t, tails[2].Err)

			began := time.Now()
			has(t, s, on["a"], "v")
			assert.Zero(t, time.Since(began), "a read of another shard waits for nothing")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, p.epoch(t, 1, "a", "b", "c").Open(ctx), "whoever starts meanwhile")
	})
}

// TestG7_ManyShardsHang: however many do, the others are read meanwhile.
func TestG7_ManyShardsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards, hang = 40, 30
		names, reads := make([]string, shards), make([]driver.TailRead, shards)
		for i := range names {
			names[i], reads[i] = fmt.Sprintf("s%02d", i), driver.TailRead{Partition: i, Limit: 10}
		}
		p := newPark(names...)
		s := p.open(t, 1, names...)
		for _, name := range names[:hang] {
			p[name].hangs.Store(true)
		}
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for i, tail := range s.Tail(ctx, reads) {
				require.Equal(t, i < hang, tail.Err != nil, "shard %d: %v", i, tail.Err)
			}
			cancel()
			time.Sleep(time.Second)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, p.epoch(t, 1, names...).Open(ctx), "whoever starts meanwhile")
	})
}

// TestRead_OneRequestToEachShard: however many keys there are.
func TestRead_OneRequestToEachShard(t *testing.T) {
	p := newPark("a", "b", "c")
	s := p.open(t, 1, "a", "b", "c")
	for _, server := range p {
		server.calls.Store(0)
	}
	_, err := s.Read(t.Context(), keys(100))
	require.NoError(t, err)
	for name, server := range p {
		assert.EqualValues(t, 1, server.calls.Load(), name)
	}
}

// TestJournal_OfAllShards: a shard that is down leaves the others' journals, and
// another map is a reset.
func TestJournal_OfAllShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		s := p.open(t, 1, "a", "b", "-c")
		require.Equal(t, 3, s.Partitions())
		reads := make([]driver.TailRead, 3)
		tail := func() []driver.Tail {
			tails := s.Tail(t.Context(), reads)
			for i := range tails {
				if tails[i].Err == nil {
					reads[i].From = tails[i].Next
				}
			}
			return tails
		}
		for i := range reads {
			reads[i] = driver.TailRead{Partition: i, Limit: 100}
		}
		for _, tail := range tail() {
			require.True(t, tail.Reset)
		}
		p["a"].down.Store(true)
		on := onEach(t, s)
		require.NoError(t, put(t.Context(), s, on["b"], "v"))
		tails := tail()
		require.ErrorIs(t, tails[0].Err, errDown)
		require.NoError(t, tails[1].Err)
		require.Len(t, tails[1].Entries, 1)
		assert.Equal(t, on["b"], tails[1].Entries[0].Key)
		assert.Equal(t, 1, s.Partition(on["b"]))
		p["a"].down.Store(false)
		require.False(t, tail()[0].Reset)

		p.open(t, 2, "a", "b", "c")
		for _, tail := range tail() {
			require.NoError(t, tail.Err)
			require.True(t, tail.Reset, "keys have other partitions now")
		}
		for _, tail := range tail() {
			require.False(t, tail.Reset)
		}
	})
}
