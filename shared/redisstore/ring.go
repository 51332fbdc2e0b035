package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// AlwaysUp is the HeartbeatFn for a Ring: it makes no shard count as down.
//
// By its own HeartbeatFn, a Ring takes a shard that does not answer out of the
// hash, and its keys go to others. When it is back, so are they, and what it
// kept is served again, however old. With AlwaysUp a shard that is down is an
// error for its keys.
func AlwaysUp(context.Context, *redis.Client) bool { return true }

// probeTimeout bounds the question how a Ring takes a shard that is down.
const probeTimeout = time.Second

// refuseRing refuses a Ring that moves keys. Its HeartbeatFn is shown a client
// of a server that cannot be reached: if that counts as down, so may a shard.
func refuseRing(ring *redis.Ring) (err error) {
	down := redis.NewClient(&redis.Options{MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, Dialer: nowhere})
	defer down.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	up := false
	defer func() {
		if p := recover(); p != nil || !up {
			err = errors.New("the Ring moves the keys of a shard that is down: set HeartbeatFn to redisstore.AlwaysUp")
		}
	}()
	for range 3 {
		if up = ring.Options().HeartbeatFn(ctx, down); !up {
			break
		}
	}
	return nil
}

// ready returns the error of ctx, or that a Ring has another number of shards
// than at first: then keys have moved.
func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.ring == nil {
		return nil
	}
	if n := s.ring.Len(); n != s.shards {
		return fmt.Errorf("the Ring has %d shards, not %d: keys have moved", n, s.shards)
	}
	return nil
}
