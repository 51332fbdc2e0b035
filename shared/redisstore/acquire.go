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
	statusLong    driver.GrantStatus = 7
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

// acquireCmd returns the call of the script for a lease; see writeCmd.
func (s *Store) acquireCmd(ctx context.Context, l *driver.Lease, whole bool) *redis.Cmd {
	p := &s.partitions[s.Partition(l.Key)]
	args := acquireScripts.one.begin(make([]any, 0, 9), whole, 2)
	args = append(args, p.prefix+l.Key, p.metadata,
		l.Image, millis(l.TTL), appendLeaseNumbers(make([]byte, 0, leaseNumbers), l), l.Discard)
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// acquireMany returns the call of the script for several leases of a partition.
func (s *Store) acquireMany(ctx context.Context, p *partition, steps []*step, whole bool) *redis.Cmd {
	args := acquireScripts.many.begin(make([]any, 0, 5+2*len(steps)), whole, 1+len(steps))
	args = append(args, p.metadata)
	names := p.names(steps)
	for i := range names {
		args = append(args, &names[i])
	}
	numbers := make([]byte, 0, len(steps)*(leaseNumbers+8))
	for _, st := range steps {
		numbers = appendLeaseNumbers(numbers, st.lease)
		numbers = binary.BigEndian.AppendUint64(numbers, millis(st.lease.TTL))
	}
	args = append(args, numbers)
	for _, st := range steps {
		args = append(args, st.lease.Image)
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// leaseNumbers is the length of the numbers of a lease.
const leaseNumbers = 17

// appendLeaseNumbers appends the numbers of a lease as the script has them.
func appendLeaseNumbers(to []byte, l *driver.Lease) []byte {
	to = binary.BigEndian.AppendUint64(to, micros(l.NotAfter))
	to = binary.BigEndian.AppendUint64(to, l.MinClock)
	if l.Renew {
		return append(to, 1)
	}
	return append(to, 0)
}

// acquired reads the answer to the call for one lease.
func acquired(ctx context.Context, cmd *redis.Cmd) answer {
	values, err := cmd.Slice()
	if err == nil && len(values) != 3 && len(values) != 4 {
		err = errAnswer
	}
	if err != nil {
		return answer{Receipt: driver.Receipt{Err: failed(ctx, "acquire", err)}}
	}
	status, _ := values[0].(int64)
	now, _ := values[1].(int64)
	image, _ := values[2].(string)
	born := ""
	if len(values) == 4 {
		born, _ = values[3].(string)
	}
	return granted(ctx, driver.GrantStatus(status), now, image, born)
}

// acquiredMany reads the answer to the call for n leases.
func acquiredMany(ctx context.Context, values []any, n int) []answer {
	answers := make([]answer, n)
	if len(values) != 2+n {
		values = make([]any, 2+n) // each is no answer
	}
	now, _ := values[0].(int64)
	born, _ := values[1].(string)
	for i, value := range values[2:] {
		text, _ := value.(string)
		switch err, failure := value.(error); {
		case failure:
			answers[i].Err = failed(ctx, "acquire", err)
		case text == "":
			answers[i].Err = failed(ctx, "acquire", errAnswer)
		default:
			answers[i] = granted(ctx, driver.GrantStatus(text[0]), now, text[1:], born)
		}
	}
	return answers
}

// granted returns what a status of acquire.lua says, with what came with it.
func granted(ctx context.Context, status driver.GrantStatus, now int64, image, born string) (a answer) {
	a.Now = time.UnixMicro(now)
	switch status {
	case driver.LeaseGranted:
		if len(born) == revisionSize {
			a.born = driver.Revision{Epoch: number(born, 0), Number: number(born, 8)}
		}
		fallthrough
	case driver.LeasePresent:
		a.image = bytesOf(image)
		fallthrough
	case driver.LeaseHeld, driver.LeaseUnusable:
		a.status = status
	case statusTooLate:
		a.Err = driver.ErrTooLate
	case statusLost:
		a.Err = driver.ErrLeaseLost
	case statusLong:
		a.Err = failed(ctx, "acquire", errApart)
	default:
		a = answer{}
		a.Err = failed(ctx, "acquire", errAnswer)
	}
	return a
}
