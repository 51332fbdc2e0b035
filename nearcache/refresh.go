package nearcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	maxRefreshes   = 64 // that run at a time, for each cache
	longestRefresh = time.Second

	refreshInfix = "!refresh"
)

// refreshKey is where the lease for refreshing a key is. Names of caches have no
// exclamation mark in them, and keys have a colon after the name.
func (k *keyspace) refreshKey(key string) string {
	name := k.name + refreshInfix + ":"
	if len(name)+len(key) > shared.MaxKeySize {
		sum := sha256.Sum256([]byte(key))
		return k.name + refreshInfix + "!" + hex.EncodeToString(sum[:])
	}
	return name + key
}

// released is what gives a lease beside a record back, after a load that ended with
// err. Of a failure those who wait for the lease are told.
func (k *keyspace) released(lease shared.Claim, err error) shared.Put {
	put := lease.Released()
	put.TTL = time.Millisecond
	if err != nil && !errors.Is(err, ErrNotFound) {
		put.Record.Codec, put.TTL = driver.TombstoneFailed, k.node.tier.LeaseTTL()/5
	}
	return put
}

// giveBack gives leases beside records back. If that fails, they end by themselves.
func (k *keyspace) giveBack(ctx context.Context, released ...shared.Put) {
	if len(released) == 0 {
		return
	}
	for _, r := range k.node.tier.Fill(ctx, released) {
		if r.Err != nil && !errors.Is(r.Err, shared.ErrLeaseLost) {
			k.sharedErrors.Add(1)
		}
	}
}

// refreshPause is how long after a value came near, or after an attempt to refresh it,
// the next attempt may begin: of a value that has so long left, and is to be refreshed so
// long before its end.
func refreshPause(left, ahead time.Duration) time.Duration {
	return max(near.Tick, min(ahead/8, left/2, longestRefresh))
}

// refreshSoon refreshes a key in the background, unless too many are being
// refreshed; then a later read will.
func (c *Cache[V]) refreshSoon(ctx context.Context, key string, hash uint64, load loader[V]) {
	select {
	case c.refreshes <- struct{}{}:
	default:
		return
	}
	f := &flight[V]{key: key, hash: hash, stamp: c.node.near.Stamp(), floor: c.keys.floors.of(hash), background: true}
	f.refresh = c.keys.space.BeginRefresh(key, hash)
	go func() { // ends with the load, as a flight does, or with the node
		defer func() { f.refresh.EndRefresh(); <-c.refreshes }()
		err := c.keys.guard("", "", func() error { return c.refresh(detached{c.node.ctx, ctx}, f, load) })
		if err == nil {
			c.keys.refreshed.Add(1)
		}
	}()
}

// refresh gets a newer value of a key that is about to end: from the shared
// tier, if somebody stored one, else from the source. The old one is served
// meanwhile, and stays if that fails.
func (c *Cache[V]) refresh(ctx context.Context, f *flight[V], load loader[V]) error {
	if c.node.tier == nil {
		return c.loadAlone(ctx, f, load, c.opts.NearTTL)
	}
	due := func() (*shared.Found, error) {
		if c.keys.pending.HasKey(f.key) {
			return nil, errPending
		}
		found, err := c.keys.readRecords(ctx, []string{f.key})
		if err != nil {
			return nil, c.keys.sharedFailed(err)
		}
		if !c.use(f, &found[0]) {
			return nil, errUnusable // it was deleted, or is gone: the next reader's business
		}
		if f.absent || found[0].Left == 0 || found[0].Left > c.opts.aheadOf(&found[0]) {
			return nil, nil
		}
		return &found[0], nil
	}
	if found, err := due(); found == nil {
		return err
	}
	lease := c.keys.claimBeside(f.key)
	got := c.keys.acquire(ctx, lease)
	if got.Err != nil {
		return c.keys.sharedFailed(got.Err)
	}
	if got.Status != driver.LeaseGranted {
		return nil // another node is at it
	}
	var failure error // of the load
	defer func() { c.keys.giveBack(ctx, c.keys.released(lease, failure)) }()
	found, err := due() // whoever held the lease before may have refreshed the record
	if found == nil {
		return err
	}
	f.stamp = c.node.near.Stamp()
	failure = &PanicError{} // stands if user code ends this goroutine
	failure = c.replace(ctx, f, load, c.keys.holdBeside(lease, &got, found), found)
	return failure
}
