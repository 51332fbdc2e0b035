package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared"
)

// What acquire.lua answers beside the statuses of a grant.
const (
	statusTooLate shared.GrantStatus = 5
	statusLost    shared.GrantStatus = 6
)

// Acquire implements [shared.Store].
func (s *Store) Acquire(ctx context.Context, leases []shared.Lease) []shared.Grant {
	grants := make([]shared.Grant, len(leases))
	if err := s.ready(ctx); err != nil {
		for i := range grants {
			grants[i].Err = failed(ctx, "acquire", err)
		}
		return grants
	}
	if len(leases) == 1 {
		grants[0] = grant(ctx, s.call(ctx, func(whole bool) *redis.Cmd { return s.acquireCmd(ctx, &leases[0], whole) }))
		return grants
	}
	for i, cmd := range s.callAll(ctx, len(leases), func(i int, whole bool) *redis.Cmd { return s.acquireCmd(ctx, &leases[i], whole) }) {
		grants[i] = grant(ctx, cmd)
	}
	return grants
}

// acquireCmd returns the call of acquire.lua for l; see writeCmd.
func (s *Store) acquireCmd(ctx context.Context, l *shared.Lease, whole bool) *redis.Cmd {
	args := append(make([]any, 0, 10), "evalsha", acquireScript.Hash(), 1, s.recordKey(l.Key),
		l.Image, millis(l.TTL), micros(l.NotAfter), l.MinClock, l.Discard, l.Renew)
	if whole {
		args[0], args[1] = "eval", acquireSource
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// grant reads the answer of acquire.lua.
func grant(ctx context.Context, cmd *redis.Cmd) shared.Grant {
	answer, err := cmd.Slice()
	if err != nil {
		return shared.Grant{Err: failed(ctx, "acquire", err)}
	}
	if len(answer) != 3 {
		return shared.Grant{Err: failed(ctx, "acquire", errAnswer)}
	}
	status, _ := answer[0].(int64)
	now, _ := answer[1].(int64)
	image, _ := answer[2].(string)
	g := shared.Grant{Status: shared.GrantStatus(status), Now: time.UnixMicro(now)}
	switch g.Status {
	case shared.LeaseGranted, shared.LeaseHeld, shared.LeaseUnusable:
	case shared.LeasePresent:
		g.Image = []byte(image)
	case statusTooLate:
		return shared.Grant{Now: g.Now, Err: shared.ErrTooLate}
	case statusLost:
		return shared.Grant{Now: g.Now, Err: shared.ErrLeaseLost}
	default:
		return shared.Grant{Err: failed(ctx, "acquire", errAnswer)}
	}
	return g
}
