package shared_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

func imageOf(r driver.Record) []byte { return r.Append(nil) }

func TestRead_JudgesWhatItFinds(t *testing.T) {
	now := time.Now()
	value := driver.Record{Kind: driver.KindValue, Codec: 9, Nonce: 3, Clock: 4, Value: []byte("value")}
	expiring, expired := value, value
	expiring.Hard, expired.Hard = now.Add(time.Hour).UnixMilli(), now.Add(-time.Millisecond).UnixMilli()
	newer := imageOf(value)
	newer[2]++
	corrupt := imageOf(value)
	corrupt[len(corrupt)-1]++
	for name, c := range map[string]struct {
		image []byte
		err   error
		left  bool
		stats shared.Stats
	}{
		"value":              {image: imageOf(value)},
		"value with expiry":  {image: imageOf(expiring), left: true},
		"watermark":          {image: imageOf(driver.Record{Kind: driver.KindWatermark})},
		"nothing":            {image: nil, err: shared.ErrNotFound},
		"tombstone":          {image: imageOf(driver.Record{Kind: driver.KindTombstone}), err: shared.ErrNotFound},
		"lease":              {image: imageOf(driver.Record{Kind: driver.KindLease}), err: shared.ErrNotFound},
		"value past its end": {image: imageOf(expired), err: shared.ErrNotFound},
		"corrupt":            {image: corrupt, err: driver.ErrCorrupt, stats: shared.Stats{Corrupt: 1}},
		"empty":              {image: []byte{}, err: driver.ErrCorrupt, stats: shared.Stats{Corrupt: 1}},
		"foreign":            {image: []byte("set by another program"), err: driver.ErrCorrupt, stats: shared.Stats{Corrupt: 1}},
		"newer format":       {image: newer, err: shared.ErrNewerFormat, stats: shared.Stats{NewerFormat: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer()
			server.planted["key"] = c.image
			tier := newTier(t, server, shared.Options{})
			found, err := tier.Read(t.Context(), []string{"key"})
			require.NoError(t, err)
			require.Len(t, found, 1)
			f := found[0]
			if c.err != nil {
				require.ErrorIs(t, f.Err, c.err)
			} else {
				require.NoError(t, f.Err)
				want, err := driver.DecodeRecord(c.image)
				require.NoError(t, err)
				assert.Equal(t, want, f.Record)
			}
			if c.left {
				assert.InDelta(t, time.Hour, f.Left, float64(time.Minute))
			}
			assert.True(t, strings.HasPrefix(string(c.image), string(f.Header)))
			assert.Len(t, f.Header, min(len(c.image), driver.HeaderSize))
			assert.Equal(t, c.stats, tier.Stats())

			_, err = tier.Get(t.Context(), "key")
			if c.err != nil {
				assert.ErrorIs(t, err, shared.ErrNotFound, "to a caller every one of them is a miss")
			} else {
				assert.NoError(t, err)
			}
		})
	}
}

// TestRead_LifetimeByTheServersClock: our own clock says nothing about expiries.
func TestRead_LifetimeByTheServersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		server.ahead = 24 * time.Hour
		tier := newTier(t, server, shared.Options{})
		r := driver.Record{Kind: driver.KindValue, Hard: time.Now().Add(server.ahead + time.Minute).UnixMilli()}
		server.planted["key"] = r.Append(nil)
		for _, want := range []time.Duration{60 * time.Second, 40 * time.Second, 20 * time.Second} {
			found, err := tier.Read(t.Context(), []string{"key"})
			require.NoError(t, err)
			require.NoError(t, found[0].Err)
			assert.Equal(t, want, found[0].Left)
			time.Sleep(20 * time.Second)
		}
		found, err := tier.Read(t.Context(), []string{"key"})
		require.NoError(t, err)
		require.ErrorIs(t, found[0].Err, shared.ErrNotFound)
	})
}

func TestRead_OneCallInTheOrderOfKeys(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	for _, r := range tier.Write(t.Context(), []shared.Put{put("a"), put("b")}) {
		require.NoError(t, r.Err)
	}
	server.calls = nil
	found, err := tier.Read(t.Context(), []string{"b", "none", "a", "b"})
	require.NoError(t, err)
	assert.Equal(t, []string{"read"}, server.calls)
	require.Len(t, found, 4)
	assert.Equal(t, "value of b", string(found[0].Value))
	require.ErrorIs(t, found[1].Err, shared.ErrNotFound)
	assert.Equal(t, "value of a", string(found[2].Value))
	assert.Equal(t, "value of b", string(found[3].Value))
}

func TestWrite_RefusesOnlyWhatIsBad(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{MaxValue: 20})
	large := put("large")
	large.Record.Value = make([]byte, 21)
	schema := put("schema")
	schema.Record.Schema, schema.Record.Value = 1, make([]byte, 9)
	slots := put("slots")
	slots.Record.Slots = make([]uint32, driver.MaxSlots+1)
	receipts := tier.Write(t.Context(), []shared.Put{put(""), put("a"), large, put("b"), schema, slots})
	require.Len(t, receipts, 6)
	require.ErrorIs(t, receipts[4].Err, shared.ErrTooLarge, "the extension counts")
	require.ErrorIs(t, receipts[5].Err, shared.ErrTooLarge)
	require.ErrorIs(t, receipts[0].Err, shared.ErrInvalidKey)
	require.NoError(t, receipts[1].Err)
	require.ErrorIs(t, receipts[2].Err, shared.ErrTooLarge)
	require.NoError(t, receipts[3].Err)
	assert.Equal(t, []string{"time", "write"}, server.calls, "the good ones go together")
	found, err := tier.Read(t.Context(), []string{"a", "b"})
	require.NoError(t, err)
	assert.Equal(t, receipts[1].Revision, found[0].Revision)
	assert.Equal(t, receipts[3].Revision, found[1].Revision)
	assert.Empty(t, tier.Write(t.Context(), nil))
}

func TestWrite_PassesOnWhatItIsGiven(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	p := shared.Put{
		Key: "key", TTL: time.Minute, Floor: 7, Announce: &driver.Announcement{Channel: "c"},
		Record: driver.Record{Kind: driver.KindTombstone, Codec: 3, Nonce: 4, Clock: 5},
	}
	require.NoError(t, tier.Write(t.Context(), []shared.Put{p})[0].Err)
	w := server.writes[0]
	assert.Equal(t, p.TTL, w.TTL)
	assert.Equal(t, p.Floor, w.Floor)
	assert.Same(t, p.Announce, w.Announce)
	r, err := driver.DecodeRecord(w.Image)
	require.NoError(t, err)
	p.Record.Value = []byte{}
	assert.Equal(t, p.Record, r)
}

func TestWrite_GivesEachANonce(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	tier.Write(t.Context(), []shared.Put{put("a"), put("b")})
	var nonces []uint64
	for _, w := range server.writes {
		r, err := driver.DecodeRecord(w.Image)
		require.NoError(t, err)
		nonces = append(nonces, r.Nonce)
	}
	assert.NotContains(t, nonces, uint64(0))
	assert.NotEqual(t, nonces[0], nonces[1])
}

func TestDelete_JoinsWhatFailed(t *testing.T) {
	server := newServer()
	server.late["late"] = 2
	tier := newTier(t, server, shared.Options{})
	require.NoError(t, tier.Set(t.Context(), "good", nil, 0))
	err := tier.Delete(t.Context(), "", "late", "good")
	require.ErrorIs(t, err, shared.ErrInvalidKey)
	require.ErrorIs(t, err, shared.ErrTooLate)
	_, err = tier.Get(t.Context(), "good")
	require.ErrorIs(t, err, shared.ErrNotFound)
}

// lease asks for the lease of key and requires an outcome.
func lease(t *testing.T, tier *shared.Tier, key string, token uint64, want driver.GrantStatus) shared.Found {
	t.Helper()
	got := tier.Acquire(t.Context(), claims(key, token))[0]
	require.NoError(t, got.Err)
	require.Equal(t, want, got.Status)
	return got.Present
}

// claims has the claim of one lease.
func claims(key string, token uint64) []shared.Claim {
	return []shared.Claim{{Key: key, Token: token}}
}

func filling(key string, token uint64) shared.Put {
	p := put(key)
	p.Record.Nonce = token
	return p
}

// fill is a Fill of one.
func fill(t *testing.T, tier *shared.Tier, p shared.Put) driver.Receipt {
	t.Helper()
	receipts := tier.Fill(t.Context(), []shared.Put{p})
	require.Len(t, receipts, 1)
	return receipts[0]
}

func TestLease_FillsOnce(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	lease(t, tier, "key", 1, driver.LeaseGranted)
	lease(t, tier, "key", 2, driver.LeaseHeld)
	require.ErrorIs(t, fill(t, tier, filling("key", 2)).Err, shared.ErrLeaseLost)
	filled := fill(t, tier, filling("key", 1))
	require.NoError(t, filled.Err)
	found := lease(t, tier, "key", 3, driver.LeasePresent)
	require.NoError(t, found.Err)
	assert.Equal(t, "value of key", string(found.Value))
	assert.Equal(t, filled.Revision, found.Revision)
}

// TestLease_EndedByAWrite is why there are leases: what was loaded before a
// write does not come after it.
func TestLease_EndedByAWrite(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	for name, write := range map[string]func(key string) error{
		"set":    func(key string) error { return tier.Set(t.Context(), key, []byte("newer"), 0) },
		"delete": func(key string) error { return tier.Delete(t.Context(), key) },
	} {
		t.Run(name, func(t *testing.T) {
			lease(t, tier, name, 1, driver.LeaseGranted)
			require.NoError(t, write(name))
			require.ErrorIs(t, fill(t, tier, filling(name, 1)).Err, shared.ErrLeaseLost)
			require.ErrorIs(t, tier.Renew(t.Context(), claims(name, 1))[0], shared.ErrLeaseLost)
			require.NoError(t, tier.Release(t.Context(), claims(name, 1))[0], "it is gone already")
		})
	}
	got, err := tier.Get(t.Context(), "set")
	require.NoError(t, err)
	assert.Equal(t, "newer", string(got))
	_, err = tier.Get(t.Context(), "delete")
	require.ErrorIs(t, err, shared.ErrNotFound)
}

func TestLease_EndsUnlessRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{LeaseTTL: time.Second})
		lease(t, tier, "renewed", 1, driver.LeaseGranted)
		lease(t, tier, "left", 1, driver.LeaseGranted)
		time.Sleep(600 * time.Millisecond)
		require.NoError(t, tier.Renew(t.Context(), claims("renewed", 1))[0])
		time.Sleep(600 * time.Millisecond)
		lease(t, tier, "renewed", 2, driver.LeaseHeld)
		require.ErrorIs(t, tier.Renew(t.Context(), claims("left", 1))[0], shared.ErrLeaseLost)
		lease(t, tier, "left", 2, driver.LeaseGranted)
	})
}

func TestLease_ReleasedAtOnce(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	lease(t, tier, "key", 1, driver.LeaseGranted)
	require.NoError(t, tier.Release(t.Context(), claims("key", 1))[0])
	lease(t, tier, "key", 2, driver.LeaseGranted)
}

func TestRelease_TellsWhatFailed(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	lease(t, tier, "key", 1, driver.LeaseGranted)
	server.late["key"] = 2
	require.ErrorIs(t, tier.Release(t.Context(), claims("key", 1))[0], shared.ErrTooLate)
}

func TestAcquire_ClockAndDiscard(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	p := put("key")
	p.Record.Clock = 10
	require.NoError(t, tier.Write(t.Context(), []shared.Put{p})[0].Err)
	got := tier.Acquire(t.Context(), []shared.Claim{{Key: "key", Token: 1, Clock: 10}})[0]
	require.NoError(t, got.Err)
	require.Equal(t, driver.LeasePresent, got.Status)
	r, err := driver.DecodeRecord(server.lease.Image)
	require.NoError(t, err)
	assert.EqualValues(t, 10, r.Clock, "the lease has the clock that it was asked with")

	got = tier.Acquire(t.Context(), []shared.Claim{{Key: "key", Token: 1, Clock: 11}})[0]
	require.NoError(t, got.Err)
	require.Equal(t, driver.LeaseGranted, got.Status, "the value is older than the clock")

	require.NoError(t, tier.Set(t.Context(), "bad", []byte("no reader decodes this"), 0))
	found, err := tier.Read(t.Context(), []string{"bad"})
	require.NoError(t, err)
	got = tier.Acquire(t.Context(), []shared.Claim{{Key: "bad", Token: 2, Discard: found[0].Header}})[0]
	require.NoError(t, got.Err)
	require.Equal(t, driver.LeaseGranted, got.Status)
}

func TestAcquire_UnusableIsCounted(t *testing.T) {
	store := memstore.New(memstore.Options{})
	tier := newTier(t, store, shared.Options{})
	image := imageOf(driver.Record{Kind: driver.KindValue, Value: []byte("value")})
	image[len(image)-1]++
	require.NoError(t, store.Write(t.Context(), []driver.Write{{Key: "key", Image: image}})[0].Err)
	found := lease(t, tier, "key", 1, driver.LeasePresent)
	require.ErrorIs(t, found.Err, driver.ErrCorrupt)
	assert.EqualValues(t, 1, tier.Stats().Corrupt)
	got := tier.Acquire(t.Context(), []shared.Claim{{Key: "key", Token: 1, Discard: found.Header}})[0]
	require.NoError(t, got.Err)
	assert.Equal(t, driver.LeaseGranted, got.Status)
}

// TestWrite_OpenUntil: a write that was given up before its deadline says until
// when it may take effect. One that was refused, or failed at the deadline, does
// not, nor does one whose connection was lost.
func TestWrite_OpenUntil(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		takes time.Duration
		open  bool
	}{
		"timeout of the client": {os.ErrDeadlineExceeded, 100 * time.Millisecond, true},
		"caller gone":           {context.Canceled, 100 * time.Millisecond, true},
		"at the end":            {os.ErrDeadlineExceeded, time.Second, false},
		"connection lost":       {io.EOF, 100 * time.Millisecond, false},
		"refused as late":       {shared.ErrTooLate, 100 * time.Millisecond, false},
		"refused, too large":    {shared.ErrTooLarge, 100 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tier := newTier(t, &failing{newServer(), c.err, c.takes}, shared.Options{Timeout: time.Second})
				_, err := tier.Get(t.Context(), "key")
				require.ErrorIs(t, err, shared.ErrNotFound)
				end := time.Now().Add(time.Second)
				err = tier.Set(t.Context(), "key", nil, 0)
				require.ErrorIs(t, err, c.err)
				var open interface{ OpenUntil() time.Time }
				require.Equal(t, c.open, errors.As(err, &open))
				if c.open {
					assert.Equal(t, end, open.OpenUntil())
				}
			})
		})
	}
}

// failing is a server whose writes fail after some time.
type failing struct {
	*server
	err   error
	takes time.Duration
}

func (f *failing) Write(_ context.Context, writes []driver.Write) []driver.Receipt {
	time.Sleep(f.takes)
	return slices.Repeat([]driver.Receipt{{Err: f.err}}, len(writes))
}
