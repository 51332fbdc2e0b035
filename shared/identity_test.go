package shared_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

func identity(t *testing.T, store driver.Store) uint64 {
	t.Helper()
	tier, err := shared.New(store, shared.Options{Timeout: time.Minute})
	require.NoError(t, err)
	id, err := tier.Identity(t.Context())
	require.NoError(t, err)
	require.NotZero(t, id)
	return id
}

func TestIdentity(t *testing.T) {
	store := memstore.New(memstore.Options{})
	var wg sync.WaitGroup
	ids := make([]uint64, 16)
	for i := range ids {
		wg.Go(func() { ids[i] = identity(t, store) })
	}
	wg.Wait()
	for _, id := range ids {
		assert.Equal(t, ids[0], id, "it is made once, whoever asks at the same time")
	}
	assert.NotEqual(t, ids[0], identity(t, memstore.New(memstore.Options{})))

	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	require.NoError(t, tier.Records().Delete(t.Context(), "!tier"))
	assert.NotEqual(t, ids[0], identity(t, store), "what was lost is made anew")
	require.NoError(t, tier.Close())
	_, err = tier.Identity(t.Context())
	require.ErrorIs(t, err, shared.ErrClosed)
}

// TestKnownIdentity: who only looks makes none.
func TestKnownIdentity(t *testing.T) {
	store := memstore.New(memstore.Options{})
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	known, err := tier.KnownIdentity(t.Context())
	require.NoError(t, err)
	require.Zero(t, known)
	image, err := store.Read(t.Context(), []string{"!tier"})
	require.NoError(t, err)
	require.Nil(t, image[0])
	made := identity(t, store)
	known, err = tier.KnownIdentity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, made, known)
	require.NoError(t, tier.Close())
	_, err = tier.KnownIdentity(t.Context())
	require.ErrorIs(t, err, shared.ErrClosed)
}

// TestIdentity_HalfMade: who died while it made the identity holds up the others for as
// long as its lease stands.
func TestIdentity_HalfMade(t *testing.T) {
	store := memstore.New(memstore.Options{})
	tier, err := shared.New(store, shared.Options{LeaseTTL: 100 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, tier.Acquire(t.Context(), []shared.Claim{{Key: "!tier", Token: 1}})[0].Err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = tier.Identity(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	identity(t, store)
}

// servers are stores that a client chooses among by the place of a key.
type servers struct {
	driver.Store
	list []driver.Store
}

func (s servers) IdentityKeys() int { return 32 }

func (s servers) of(key string) driver.Store {
	sum := 0
	for _, c := range []byte(key) {
		sum += int(c)
	}
	return s.list[sum%len(s.list)]
}

func (s servers) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images := make([][]byte, len(keys))
	for i := range keys {
		got, err := s.of(keys[i]).Read(ctx, keys[i:i+1])
		if err != nil {
			return nil, err
		}
		images[i] = got[0]
	}
	return images, nil
}

func (s servers) Acquire(ctx context.Context, leases []driver.Lease) (grants []driver.Grant) {
	for i := range leases {
		grants = append(grants, s.of(leases[i].Key).Acquire(ctx, leases[i:i+1])...)
	}
	return grants
}

func (s servers) Fill(ctx context.Context, writes []driver.Write) (receipts []driver.Receipt) {
	for i := range writes {
		receipts = append(receipts, s.of(writes[i].Key).Fill(ctx, writes[i:i+1])...)
	}
	return receipts
}

func TestIdentity_Placed(t *testing.T) {
	a, b, c := memstore.New(memstore.Options{}), memstore.New(memstore.Options{}), memstore.New(memstore.Options{})
	list := func(list ...driver.Store) servers { return servers{list[0], list} }
	all := identity(t, list(a, b, c))
	assert.Equal(t, all, identity(t, list(a, b, c)))
	for name, other := range map[string]servers{
		"order": list(a, c, b), "one more": list(a, b, c, a), "one less": list(a, b),
		"another": list(a, b, memstore.New(memstore.Options{})),
	} {
		assert.NotEqual(t, all, identity(t, other), name)
		assert.Equal(t, all, identity(t, list(a, b, c)), name)
	}
}
