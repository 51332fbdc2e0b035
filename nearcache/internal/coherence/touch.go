package coherence

import (
	"context"
	"errors"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Touch has the record of key live for ttl from now on, if it is the value of this revision.
// Otherwise the error is [shared.ErrNotFound].
func (k *Keyspace) Touch(ctx context.Context, key string, rev driver.Revision, ttl time.Duration) error {
	switch err := k.node.Tier.touch(ctx, driver.Touch{Key: k.StoreKey(key), Revision: rev, TTL: ttl}); {
	case err == nil:
		k.Touches.Add(1)
		return nil
	case errors.Is(err, shared.ErrNotFound), errors.Is(err, errors.ErrUnsupported):
		return err
	default:
		return k.SharedFailed(err)
	}
}

// touch is Touch of the tier, of one value.
func (r *observedTier) touch(ctx context.Context, t driver.Touch) error {
	began := time.Now()
	err := r.Tier.Touch(ctx, []driver.Touch{t})[0].Err
	failure := err
	if errors.Is(err, shared.ErrNotFound) {
		failure = nil
	}
	r.node.tookShared(telemetry.SharedWrite, t.Key, 1, began, failure)
	r.node.observe(ctx, failure)
	r.node.markUnreachable(failure, t.Key)
	return err
}
