package shared_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

func TestNew_RefusesNil(t *testing.T) {
	for name, store := range map[string]driver.Store{
		"nil": nil, "typed nil": (*memstore.Store)(nil),
	} {
		t.Run(name, func(t *testing.T) {
			tier, err := shared.New(store, shared.Options{})
			require.EqualError(t, err, "shared: New: the store is nil")
			assert.Nil(t, tier)
		})
	}
}

func TestTier_SetGetDelete(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	get := func(key string) string {
		value, err := tier.Get(t.Context(), key)
		require.NoError(t, err)
		return string(value)
	}
	_, err := tier.Get(t.Context(), "key")
	require.ErrorIs(t, err, shared.ErrNotFound)
	require.NoError(t, tier.Set(t.Context(), "key", []byte("value"), 0))
	require.NoError(t, tier.Set(t.Context(), "other", nil, 0))
	assert.Equal(t, "value", get("key"))
	assert.Empty(t, get("other"))
	require.NoError(t, tier.Set(t.Context(), "key", []byte("new"), time.Hour))
	assert.Equal(t, "new", get("key"))
	require.NoError(t, tier.Delete(t.Context(), "key", "never set"))
	_, err = tier.Get(t.Context(), "key")
	require.ErrorIs(t, err, shared.ErrNotFound)
	assert.Empty(t, get("other"))
	require.NoError(t, tier.Delete(t.Context()))
}

func TestTier_TTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{TTL: time.Minute})
		require.NoError(t, tier.Set(t.Context(), "default", nil, 0))
		require.NoError(t, tier.Set(t.Context(), "given", nil, time.Hour))
		time.Sleep(time.Minute - time.Millisecond)
		_, err := tier.Get(t.Context(), "default")
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		_, err = tier.Get(t.Context(), "default")
		require.ErrorIs(t, err, shared.ErrNotFound)
		_, err = tier.Get(t.Context(), "given")
		require.NoError(t, err)
	})
}

func TestTier_SetRefusesNegativeTTL(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	require.EqualError(t, tier.Set(t.Context(), "key", nil, -time.Second), `shared: set "key": ttl is negative: -1s`)
	assert.Empty(t, server.calls)
}

func TestTier_BytesAreTheCallers(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	value := []byte("value")
	require.NoError(t, tier.Set(t.Context(), "key", value, 0))
	clear(value)
	for range 2 {
		got, err := tier.Get(t.Context(), "key")
		require.NoError(t, err)
		require.Equal(t, "value", string(got))
		clear(got)
	}
}

// everyMethod calls each method that takes a key.
func everyMethod(ctx context.Context, tier *shared.Tier, key string) map[string]error {
	_, getErr := tier.Get(ctx, key)
	_, readErr := tier.Read(ctx, []string{"good", key})
	claim := []shared.Claim{{Key: key, Token: 1}}
	return map[string]error{
		"Get": getErr, "Read": readErr, "Acquire": tier.Acquire(ctx, claim)[0].Err,
		"Set":     tier.Set(ctx, key, nil, 0),
		"Delete":  tier.Delete(ctx, key),
		"Write":   tier.Write(ctx, []shared.Put{put(key)})[0].Err,
		"Fill":    tier.Fill(ctx, []shared.Put{put(key)})[0].Err,
		"Release": tier.Release(ctx, claim)[0],
		"Renew":   tier.Renew(ctx, claim)[0],
	}
}

func TestTier_RefusesKeys(t *testing.T) {
	for name, key := range map[string]string{"empty": "", "too long": strings.Repeat("k", shared.MaxKeySize+1)} {
		t.Run(name, func(t *testing.T) {
			server := newServer()
			tier := newTier(t, server, shared.Options{})
			for method, err := range everyMethod(t.Context(), tier, key) {
				require.ErrorIs(t, err, shared.ErrInvalidKey, method)
				assert.NotContains(t, err.Error(), "kkk", method)
			}
			assert.Empty(t, server.calls, "nothing was sent")
		})
	}
}

func TestTier_AcceptsKeys(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	for _, key := range []string{"k", strings.Repeat("k", shared.MaxKeySize), "\x00", "\xff", " "} {
		require.NoError(t, tier.Set(t.Context(), key, []byte(key), 0))
		got, err := tier.Get(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, key, string(got))
	}
}

func TestTier_RefusesLargeValues(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{MaxValue: 10})
	large := shared.Put{Key: "key", Record: driver.Record{Kind: driver.KindValue, Value: make([]byte, 11)}}
	for method, err := range map[string]error{
		"Set":   tier.Set(t.Context(), "key", large.Record.Value, 0),
		"Write": tier.Write(t.Context(), []shared.Put{large})[0].Err,
		"Fill":  tier.Fill(t.Context(), []shared.Put{large})[0].Err,
	} {
		require.ErrorIs(t, err, shared.ErrTooLarge, method)
		assert.ErrorContains(t, err, `"key": 11 bytes, more than 10`, method)
	}
	assert.Empty(t, server.calls, "nothing was sent")
	require.NoError(t, tier.Set(t.Context(), "key", bytes.Repeat([]byte("v"), 10), 0))
}

func TestTier_Closed(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	require.NoError(t, tier.Close())
	require.NoError(t, tier.Close())
	for method, err := range everyMethod(t.Context(), tier, "key") {
		assert.ErrorIs(t, err, shared.ErrClosed, method)
	}
	assert.Empty(t, server.calls, "nothing was sent")
}

// TestTier_CloseLeavesTheStore: it belongs to the caller, who may have another
// Tier over it.
func TestTier_CloseLeavesTheStore(t *testing.T) {
	store := memstore.New(memstore.Options{})
	require.NoError(t, newTier(t, store, shared.Options{}).Close())
	require.NoError(t, newTier(t, store, shared.Options{}).Set(t.Context(), "key", nil, 0))
}

func TestTier_EndedContext(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: expired} {
		for method, err := range everyMethod(ctx, tier, "key") {
			assert.ErrorIs(t, err, want, method)
		}
	}
	assert.Empty(t, server.calls, "nothing was sent")
}

// TestTier_ServerThatFails: without its clock no deadline can be given, so
// nothing is written; the clock is asked for again with the next call.
func TestTier_ServerThatFails(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	server.fails["time"] = errors.New("server is down")
	for method, err := range everyMethod(t.Context(), tier, "key") {
		assert.ErrorIs(t, err, server.fails["time"], method)
	}
	assert.NotContains(t, server.calls, "write")
	server.fails["time"] = nil
	require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
	server.fails["read"] = errors.New("server is down again")
	_, err := tier.Get(t.Context(), "key")
	assert.Equal(t, server.fails["read"], err)
}

// TestTier_IsBoundedInTime has a server that answers after a minute.
func TestTier_IsBoundedInTime(t *testing.T) {
	for name, c := range map[string]struct{ timeout, caller, want time.Duration }{
		"by its own":    {time.Second, time.Hour, time.Second},
		"by the caller": {time.Second, 100 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tier := newTier(t, &detached{server: newServer()}, shared.Options{Timeout: c.timeout})
				ctx, cancel := context.WithTimeout(t.Context(), c.caller)
				defer cancel()
				start := time.Now()
				require.ErrorIs(t, tier.Set(ctx, "key", nil, 0), context.DeadlineExceeded)
				assert.Equal(t, c.want, time.Since(start))
			})
		})
	}
}

// announcing is a store that publishes.
type announcing struct {
	driver.Store
	client any
}

func (a announcing) Endpoint() any { return a.client }

func TestTier_Endpoint(t *testing.T) {
	store := memstore.New(memstore.Options{})
	assert.Nil(t, newTier(t, store, shared.Options{}).Endpoint())
	assert.Nil(t, newTier(t, announcing{store, nil}, shared.Options{}).Endpoint())
	assert.Equal(t, "client", newTier(t, announcing{store, "client"}, shared.Options{}).Endpoint())
}

func TestNewNonce(t *testing.T) {
	seen := map[uint64]bool{0: true}
	for range 1000 {
		n := driver.NewNonce()
		require.False(t, seen[n])
		seen[n] = true
	}
}

// TestTier_ManyGoroutines is for the race detector.
func TestTier_ManyGoroutines(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			own := fmt.Sprint("key", i)
			for j := range 100 {
				value := fmt.Sprint(i, " ", j)
				assert.NoError(t, tier.Set(t.Context(), "common", []byte(value), 0))
				assert.NoError(t, tier.Set(t.Context(), own, []byte(value), 0))
				got, err := tier.Get(t.Context(), own)
				assert.NoError(t, err)
				assert.Equal(t, value, string(got))
				_, err = tier.Get(t.Context(), "common")
				assert.NoError(t, err)
			}
			assert.NoError(t, tier.Delete(t.Context(), own))
		})
	}
	all.Wait()
	assert.Zero(t, tier.Stats())
}
