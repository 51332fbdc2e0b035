package shared_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

func put(key string) shared.Put {
	return shared.Put{Key: key, Record: driver.Record{Kind: driver.KindValue, Value: []byte("value of " + key)}}
}

func keysOf(writes []driver.Write) []string {
	keys := make([]string, len(writes))
	for i := range writes {
		keys[i] = writes[i].Key
	}
	return keys
}

func TestTooLate_OnlyTheLateOnesAreSentAgain(t *testing.T) {
	server := newServer()
	server.late["b"], server.late["d"] = 1, 2
	tier := newTier(t, server, shared.Options{})
	puts := []shared.Put{put("a"), put("b"), put("c"), put("d")}
	for i := range puts {
		puts[i].Record.Nonce = uint64(i + 1)
	}
	receipts := tier.Write(t.Context(), puts)
	assert.Equal(t, []string{"time", "write", "write"}, server.calls)
	assert.Equal(t, []string{"b", "d"}, keysOf(server.writes))
	assert.EqualValues(t, 3, tier.Stats().TooLate)
	found, err := tier.Read(t.Context(), []string{"a", "b", "c", "d"})
	require.NoError(t, err)
	for i, r := range receipts[:3] {
		require.NoError(t, r.Err)
		require.NoError(t, found[i].Err)
		assert.Equal(t, found[i].Revision, r.Revision, "each receipt is in its place")
		assert.EqualValues(t, i+1, found[i].Nonce, "the nonce stays")
	}
	require.ErrorIs(t, receipts[3].Err, shared.ErrTooLate)
	require.ErrorIs(t, found[3].Err, shared.ErrNotFound)
}

func TestTooLate_AFillIsSentAgain(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	lease(t, tier, "key", 5, driver.LeaseGranted)
	server.late["key"], server.calls = 1, nil
	p := put("key")
	p.Record.Nonce = 5
	require.NoError(t, fill(t, tier, p).Err)
	assert.Equal(t, []string{"fill", "fill"}, server.calls)
}

// TestTooLate_LeasesAreAskedForAgain: also with a single attempt, since a server answered.
func TestTooLate_LeasesAreAskedForAgain(t *testing.T) {
	server := newServer()
	server.late["b"], server.late["c"] = 1, 2
	tier := newTier(t, server, shared.Options{Attempts: 1})
	claims := []shared.Claim{{Key: "a", Token: 1}, {Key: "b", Token: 2}, {Key: "c", Token: 3}}
	claimed := tier.Acquire(t.Context(), claims)
	assert.Equal(t, []string{"time", "acquire", "acquire"}, server.calls)
	assert.EqualValues(t, 3, tier.Stats().TooLate)
	for _, c := range claimed[:2] {
		require.NoError(t, c.Err)
		assert.Equal(t, driver.LeaseGranted, c.Status)
	}
	require.ErrorIs(t, claimed[2].Err, shared.ErrTooLate)
	require.ErrorIs(t, claimed[2].Err, context.DeadlineExceeded)
	server.late["a"] = 1
	assert.Equal(t, []error{nil}, tier.Renew(t.Context(), claims[:1]))
}

func TestTooLate_TouchesAreSentAgain(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{Attempts: 1})
	p := put("key")
	p.TTL = time.Minute
	stored := tier.Write(t.Context(), []shared.Put{p})[0]
	require.NoError(t, stored.Err)
	server.late["key"] = 1
	touch := driver.Touch{Key: "key", Revision: stored.Revision, TTL: time.Hour}
	require.NoError(t, tier.Touch(t.Context(), []driver.Touch{touch})[0].Err)
	server.late["key"] = 2
	err := tier.Touch(t.Context(), []driver.Touch{touch})[0].Err
	require.ErrorIs(t, err, shared.ErrTooLate)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestTooLate_NothingNewToTry: without the server's clock nothing would be
// different, and after the context ended the write is really late.
func TestTooLate_NothingNewToTry(t *testing.T) {
	for name, prepare := range map[string]func(*server){
		"the refusal does not tell the clock": func(s *server) { s.silent = true },
		"the context has ended":               func(s *server) { s.back = 3 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer()
				tier := newTier(t, server, shared.Options{Timeout: time.Second})
				_, err := tier.Get(t.Context(), "key")
				require.ErrorIs(t, err, shared.ErrNotFound)
				server.late["key"], server.calls = 1, nil
				prepare(server)
				require.ErrorIs(t, tier.Set(t.Context(), "key", nil, 0), shared.ErrTooLate)
				assert.Equal(t, []string{"write"}, server.calls)
			})
		})
	}
}

// TestTooLate_AbandonedWrite is what deadlines are for: the caller gave up, and
// what arrives after that changes nothing.
func TestTooLate_AbandonedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		tier := newTier(t, server, shared.Options{})
		_, err := tier.Get(t.Context(), "key")
		require.ErrorIs(t, err, shared.ErrNotFound)

		stuck := &detached{server: server, outcome: make(chan error, 1)}
		abandoning := newTier(t, stuck, shared.Options{})
		require.ErrorIs(t, abandoning.Set(t.Context(), "key", []byte("abandoned"), 0), context.DeadlineExceeded)
		require.NoError(t, tier.Set(t.Context(), "key", []byte("later"), 0))
		require.ErrorIs(t, <-stuck.outcome, shared.ErrTooLate)
		got, err := tier.Get(t.Context(), "key")
		require.NoError(t, err)
		assert.Equal(t, "later", string(got))
	})
}

// detached is a server whose writes arrive a minute after they were sent.
type detached struct {
	*server
	outcome chan error // of the write, when it arrived; never closed
}

func (d *detached) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	time.AfterFunc(time.Minute, func() {
		d.outcome <- d.server.Store.Write(context.WithoutCancel(ctx), writes)[0].Err
	})
	<-ctx.Done()
	return []driver.Receipt{{Err: ctx.Err()}}
}
