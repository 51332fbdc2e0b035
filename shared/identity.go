package shared

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"
)

// identityKey is what the identity of a tier is under. No cache has a name that begins
// like it.
const identityKey = "!tier"

// identityPause is left before the identity is looked for again, while another process
// makes it.
const identityPause = 20 * time.Millisecond

// Placed is implemented by a [Store] whose client decides by itself which server a key is
// on, by a list of servers that may differ between processes.
type Placed interface {
	// IdentityKeys is the number of keys that are needed to notice another list, and
	// another order of it.
	IdentityKeys() int
}

// Named is implemented by a [Store] that knows which namespace it was given.
type Named interface {
	// Namespace returns what [Namespace] made of it, or "" if keys begin with something
	// that was given in its place.
	Namespace() string
}

// Namespace returns the namespace of the store, "" if it has none or does not tell it.
func (t *Tier) Namespace() string {
	if n, ok := t.store.(Named); ok {
		return n.Namespace()
	}
	return ""
}

// Identity returns a number that all processes get which have the same keys on the same
// servers, and others do not: it is kept in the store, made by whoever asks first, and made
// anew when the store has lost it. A store that was copied has that of the original. With
// a store that is [Placed], processes get another number if they find some keys on other
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

func (t *Tier) identityKeys() []string {
	n := 1
	if p, ok := t.store.(Placed); ok {
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
		r, err := DecodeRecord(image)
		if err != nil || r.Kind != KindValue || len(r.Value) == 0 {
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
	leases := make([]Lease, len(keys))
	for i, key := range keys {
		record := Record{Kind: KindLease, Nonce: NewNonce()}
		leases[i] = Lease{Key: key, Image: record.Append(nil), TTL: t.opts.LeaseTTL}
		if _, err := DecodeRecord(images[i]); errors.Is(err, ErrCorrupt) {
			leases[i].Discard = images[i][:min(len(images[i]), HeaderSize)]
		}
	}
	var fills []Write
	for i, grant := range t.store.Acquire(ctx, leases) {
		switch {
		case grant.Err != nil:
			return grant.Err
		case grant.Status == LeaseUnusable:
			return errForeignIdentity
		case grant.Status != LeaseGranted:
			continue
		}
		nonce := binary.BigEndian.Uint64(leases[i].Image[NonceOffset:])
		value := binary.BigEndian.AppendUint64(nil, NewNonce())
		record := Record{Kind: KindValue, Codec: CodecRaw, Nonce: nonce, Value: value}
		fills = append(fills, Write{Key: keys[i], Image: record.Append(nil), Born: grant.Revision})
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
