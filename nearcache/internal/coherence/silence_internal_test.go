package coherence

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// stalling is a store whose fills hang, and reads of its journal.
type stalling struct{ *memstore.Store }

func (s stalling) Fill(ctx context.Context, _ []driver.Write) []driver.Receipt {
	<-ctx.Done()
	return []driver.Receipt{{Err: ctx.Err()}}
}

func (s stalling) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	<-ctx.Done()
	tails := make([]driver.Tail, len(reads))
	for i := range tails {
		tails[i].Err = ctx.Err()
	}
	return tails
}

// TestSilence_LeasesEnd: a lease whose fill was given up, or refused, because the shared tier is silent
// ends by itself: the node does not remember it.
func TestSilence_LeasesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := shared.New(stalling{memstore.New(memstore.Options{})}, shared.Options{})
		require.NoError(t, err)
		node, err := New(tier, nil, Options{
			NearBytes: 1 << 20, MaxStaleness: time.Second, JournalInterval: time.Second,
			Background: context.Background(), Logger: slog.New(slog.DiscardHandler),
		}, fault.InProcess())
		require.NoError(t, err)
		defer node.Close()
		ctx, cancel := context.WithCancel(t.Context())
		soon := &Hurried{ctx}
		var claims []shared.Claim
		for _, key := range []string{"c:a", "c:b"} {
			claim := shared.Claim{Key: key, Token: driver.NewNonce()}
			require.NoError(t, node.Tier.Acquire(soon, []shared.Claim{claim})[0].Err)
			claims = append(claims, claim)
		}
		require.Len(t, node.Tier.leases.held, 2)
		for i := range claims {
			put := shared.Put{Key: claims[i].Key, TTL: time.Minute, Record: driver.Record{Kind: driver.KindValue, Nonce: claims[i].Token}}
			require.ErrorIs(t, node.Tier.Fill(soon, []shared.Put{put})[0].Err, ErrSilent)
		}
		cancel() // the loads are over
		time.Sleep(time.Minute)
		assert.Empty(t, node.Tier.leases.held)
	})
}

// ending is an errand whose driver ends the goroutine that it was called on.
type ending struct{ carrier }

func (e *ending) do() { runtime.Goexit() }

// TestSilence_DriverEndsGoroutine: its caller does not take nothing for an answer.
func TestSilence_DriverEndsGoroutine(t *testing.T) {
	s := silence{fixed: time.Minute, began: time.Now()}
	e := &ending{}
	assert.PanicsWithValue(t, "nearcache: a driver ended the goroutine that called it", func() { _ = s.carry(e, &e.carrier) })
}
