package redisstore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

// What acquire.lua answers beside the statuses of a grant.
const (
	statusTooLate driver.GrantStatus = 5
	statusLost    driver.GrantStatus = 6
)

// Acquire implements [driver.Store].
func (s *Store) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	if len(leases) == 1 {
		return []driver.Grant{s.step(ctx, step{lease: &leases[0]}).grant()}
	}
	steps, grants := make([]step, len(leases)), make([]driver.Grant, len(leases))
	for i := range leases {
		steps[i].lease = &leases[i]
	}
	for i, a := range s.stepMany(ctx, steps) {
		grants[i] = a.grant()
	}
	return grants
}

// acquireCmd returns the call of acquire.lua for a lease; see writeCmd.
func (s *Store) acquireCmd(ctx context.Context, l *driver.Lease, whole bool) *redis.Cmd {
	p := &s.partitions[s.Partition(l.Key)]
	args := append(make([]any, 0, 11), "evalsha", acquireScript.Hash(), 2, p.prefix+l.Key, p.metadata,
		l.Image, millis(l.TTL), micros(l.NotAfter), l.MinClock, l.Discard, l.Renew)
	if whole {
		args[0], args[1] = "eval", acquireSource
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// acquired reads the answer of acquire.lua.
func acquired(ctx context.Context, cmd *redis.Cmd) (a answer) {
	values, err := cmd.Slice()
	if err == nil && len(values) != 3 && len(values) != 4 {
		err = errAnswer
	}
	if err != nil {
		a.Err = failed(ctx, "acquire", err)
		return a
	}
	status, _ := values[0].(int64)
	now, _ := values[1].(int64)
	image, _ := values[2].(string)
	a.Now = time.UnixMicro(now)
	if len(values) == 4 {
		if born, _ := values[3].(string); len(born) == revisionSize {
			a.born.Epoch = binary.BigEndian.Uint64([]byte(born))
			a.born.Number = binary.BigEndian.Uint64([]byte(born)[8:])
		}
	}
	switch driver.GrantStatus(status) {
	case driver.LeasePresent, driver.LeaseGranted:
		a.image = []byte(image)
		fallthrough
	case driver.LeaseHeld, driver.LeaseUnusable:
		a.status = driver.GrantStatus(status)
	case statusTooLate:
		a.Err = driver.ErrTooLate
	case statusLost:
		a.Err = driver.ErrLeaseLost
	default:
		a = answer{}
		a.Err = failed(ctx, "acquire", errAnswer)
	}
	return a
}
