package shared_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// slowWay is a way to a store on which the first request for a lease is held up for
// longer than its client waits.
type slowWay struct {
	*memstore.Store
	held []driver.Lease
}

func (s *slowWay) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	if s.held == nil {
		s.held = slices.Clone(leases)
		return slices.Repeat([]driver.Grant{{Err: os.ErrDeadlineExceeded}}, len(leases)) // as a socket says it
	}
	return s.Store.Acquire(ctx, leases)
}

// TestG5_LeaseAskedForLandsLate: a load that began before a delete stores nothing after
// it, though a request for its lease that was given up arrives in between.
func TestG5_LeaseAskedForLandsLate(t *testing.T) {
	way := &slowWay{Store: memstore.New(memstore.Options{})}
	tier, other := newTier(t, way, shared.Options{}), newTier(t, way.Store, shared.Options{})
	claimed := tier.Acquire(t.Context(), []shared.Claim{{Key: "key", Token: 5}})
	// Here it loads, if it may.
	require.NoError(t, other.Delete(t.Context(), "key"))
	assert.NoError(t, way.Store.Acquire(t.Context(), way.held)[0].Err)
	if claimed[0].Err == nil {
		p := put("key")
		p.Record.Nonce = 5
		tier.Fill(t.Context(), []shared.Put{p})
	}
	_, err := other.Get(t.Context(), "key")
	require.ErrorIs(t, err, shared.ErrNotFound)
	require.ErrorIs(t, claimed[0].Err, os.ErrDeadlineExceeded)
}
