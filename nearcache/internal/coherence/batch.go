package coherence

import (
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/pending"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// What one round trip of a batch carries at most, and one call of the loader of
// FetchMany, and one message. A larger batch is worked through in parts, one
// after the other.
const (
	MaxPart      = 1024    // keys
	MaxPartBytes = 4 << 20 // encoded values to be written, except for a single one that is larger
)

// batch is what several keys are told to the shared tier and the other nodes,
// and how that went.
type batch struct {
	invs      []bus.Invalidation
	errs      []error // in the order of invs; those of the shared tier
	announced bool    // the shared tier announced what it confirmed

	clock, tagClock uint64 // of the cache, as known before values were written
}

// enter enters what the shared tier answered.
func (k *Keyspace) enter(b *batch, receipts []driver.Receipt) {
	for i := range receipts {
		b.errs[i] = receipts[i].Err
		b.invs[i].Epoch, b.invs[i].Revision = receipts[i].Revision.Epoch, receipts[i].Revision.Number
	}
}

// announceOne has the store announce a write of one key in the same step, where it can.
// More than one go out in one message afterwards, and so do those of a gathering.
func (k *Keyspace) announceOne(ctx context.Context, b *batch, puts []shared.Put) {
	if len(puts) == 1 && memberOf(ctx) == nil {
		puts[0].Announce = k.announcement(&b.invs[0])
		b.announced = puts[0].Announce != nil
	}
}

func (b *batch) fail(err error) {
	for i := range b.errs {
		b.errs[i] = err
	}
}

// split returns the invalidations of the keys that the shared tier confirmed,
// and of those that it did not.
func (b *batch) split() (confirmed, open []bus.Invalidation) {
	for i, err := range b.errs {
		if err == nil {
			confirmed = append(confirmed, b.invs[i])
		} else {
			open = append(open, b.invs[i])
		}
	}
	return confirmed, open
}

// openUntil returns until when a value of b that was not confirmed may take effect.
// A tombstone may at any time.
func (b *batch) openUntil() (latest time.Time) {
	for i, err := range b.errs {
		if t := openUntil(err); b.invs[i].Op == bus.OpSet && t.After(latest) {
			latest = t
		}
	}
	return latest
}

// resolveOrRetry resolves the pending invalidations of the keys that the shared tier
// confirmed, and adds those of the others. It is called before readers may read again.
func (k *Keyspace) resolveOrRetry(settles pending.Checkpoint, b *batch) {
	confirmed, open := b.split()
	for i := range confirmed {
		k.Pending.Resolve(settles, false, confirmed[i].Key)
	}
	if len(open) > 0 {
		k.retryLater(open, false, b.openUntil())
	}
}

// announce tells the other nodes of all keys of b: also of those whose write was not
// confirmed, which may have happened, or may still. It notes in failed what
// became of each key.
func (k *Keyspace) announce(ctx context.Context, b *batch, failed *Failures) {
	open := 0
	for i := range b.errs {
		if b.errs[i] != nil {
			b.errs[i] = fmt.Errorf("%w: cache %q: %w", ErrOutcomeUnknown, k.Name, b.errs[i])
			b.invs[i].Epoch, b.invs[i].Revision = 0, 0
			open++
		}
	}
	if open > 0 {
		k.SharedErrors.Add(1)
		var cancel context.CancelFunc // the caller may have no time left
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
		defer cancel()
	}
	var untold error
	if open > 0 || !b.announced {
		untold = k.broadcast(ctx, b.invs)
	}
	for i := range b.errs {
		if b.errs[i] == nil {
			b.errs[i] = untold
		} else {
			b.errs[i] = alsoUnannounced(b.errs[i], untold)
		}
		failed.Put(b.invs[i].Key, b.errs[i])
	}
}

func revisionOf(inv *bus.Invalidation) driver.Revision {
	return driver.Revision{Epoch: inv.Epoch, Number: inv.Revision}
}

// CheckEach is check for several keys, each by itself: it returns those that are valid,
// and notes in failed what is wrong with the others.
func (rs *Records) CheckEach(keys []string, failed *Failures) (valid []string, err error) {
	if err := rs.Check(); err != nil {
		return nil, err
	}
	valid = make([]string, 0, len(keys))
	for _, key := range keys {
		if err := rs.Check(key); err != nil {
			failed.Put(key, err)
			continue
		}
		valid = append(valid, key)
	}
	return valid, nil
}

// Distinct returns keys without repetitions, in their order.
func Distinct(keys []string) []string {
	seen := make(map[string]struct{}, len(keys))
	out := make([]string, 0, len(keys))
	for _, key := range keys {
		if _, ok := seen[key]; !ok {
			seen[key] = struct{}{}
			out = append(out, key)
		}
	}
	return out
}
