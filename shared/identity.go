package shared

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// identityKey is what the identity of a tier is under. No cache has a name that begins
// like it.
const identityKey = "!tier"

// identityPause is left before the identity is looked for again, while another process
// makes it.
const identityPause = 20 * time.Millisecond

// Namespace returns the namespace of the store, "" if it has none or does not tell it.
func (t *Tier) Namespace() string {
	if n, ok := t.store.(driver.Named); ok {
		return n.Namespace()
	}
	return ""
}

// Identity returns a number that all processes get which have the same keys on the same
// servers, and others do not: it is kept in the store, made by whoever asks first, and made
// anew when the store has lost it. A store that was copied has that of the original. With
// a store that is [driver.Placed], processes get another number if they find some keys on other
// servers.
//
// It makes one attempt, of [Options].Timeout at most, and does not go through the breaker.
// The error is that of the store, [ErrClosed], or says that another process was about to
// make it.
func (t *Tier) Identity(ctx context.Context) (uint64, error) {
	if t.closed.Load() {
		return 0, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	keys := t.identityKeys()
	for {
		images, err := t.store.Read(ctx, keys)
		if err != nil {
			return 0, fmt.Errorf("shared: identity: %w", err)
		}
		identity, missing := identityOf(images)
		if len(missing) == 0 {
			return identity, nil
		}
		if err := t.makeIdentity(ctx, pick(keys, missing), pick(images, missing)); err != nil {
			return 0, fmt.Errorf("shared: identity: %w", err)
		}
		select {
		case <-time.After(identityPause):
		case <-ctx.Done():
			return 0, fmt.Errorf("shared: identity: another process is about to make it: %w", ctx.Err())
		}
	}
}

// KnownIdentity is Identity for those who only look: it makes none, and returns 0 if there is none
// yet.
func (t *Tier) KnownIdentity(ctx context.Context) (uint64, error) {
	if t.closed.Load() {
		return 0, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	images, err := t.store.Read(ctx, t.identityKeys())
	if err != nil {
		return 0, fmt.Errorf("shared: identity: %w", err)
	}
	identity, missing := identityOf(images)
	if len(missing) > 0 {
		return 0, nil
	}
	return identity, nil
}

func (t *Tier) identityKeys() []string {
	n := 1
	if p, ok := t.store.(driver.Placed); ok {
		n = max(n, p.IdentityKeys())
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = identityKey
		if i > 0 {
			keys[i] += strconv.Itoa(i)
		}
	}
	return keys
}

// identityOf returns what the records under the keys of the identity make of it, and
// which of them are not there.
func identityOf(images [][]byte) (identity uint64, missing []int) {
	all := fnv.New64a()
	for i, image := range images {
		r, err := driver.DecodeRecord(image)
		if err != nil || r.Kind != driver.KindValue || len(r.Value) == 0 {
			missing = append(missing, i)
		}
		_, _ = all.Write(r.Value) // never fails
	}
	return max(all.Sum64(), 1), missing
}

var errForeignIdentity = errors.New("there is something that is not ours to replace")

// makeIdentity puts a new number under each of these keys that nobody else is about to
// put one under. Nobody's is replaced.
func (t *Tier) makeIdentity(ctx context.Context, keys []string, images [][]byte) error {
	leases := make([]driver.Lease, len(keys))
	for i, key := range keys {
		record := driver.Record{Kind: driver.KindLease, Nonce: driver.NewNonce()}
		leases[i] = driver.Lease{Key: key, Image: record.Append(nil), TTL: t.opts.LeaseTTL}
		if _, err := driver.DecodeRecord(images[i]); errors.Is(err, driver.ErrCorrupt) {
			leases[i].Discard = images[i][:min(len(images[i]), driver.HeaderSize)]
		}
	}
	var fills []driver.Write
	for i, grant := range t.store.Acquire(ctx, leases) {
		switch {
		case grant.Err != nil:
			return grant.Err
		case grant.Status == driver.LeaseUnusable:
			return errForeignIdentity
		case grant.Status != driver.LeaseGranted:
			continue
		}
		nonce := binary.BigEndian.Uint64(leases[i].Image[driver.NonceOffset:])
		value := binary.BigEndian.AppendUint64(nil, driver.NewNonce())
		record := driver.Record{Kind: driver.KindValue, Codec: CodecRaw, Nonce: nonce, Value: value}
		fills = append(fills, driver.Write{Key: keys[i], Image: record.Append(nil), Born: grant.Revision})
	}
	if len(fills) == 0 {
		return nil
	}
	for _, r := range t.store.Fill(ctx, fills) {
		if r.Err != nil && !errors.Is(r.Err, ErrLeaseLost) {
			return r.Err
		}
	}
	return nil
}
