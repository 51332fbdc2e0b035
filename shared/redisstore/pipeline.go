package redisstore

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

// pipelined sends what queue queues, commands of type *redis.Cmd, in one pipeline to
// each server. What keeps a command from the server becomes its error: go-redis leaves
// it without one if a server refused the connection, for a wrong password for one.
func (s *Store) pipelined(ctx context.Context, queue func(redis.Pipeliner)) {
	pipe := s.client.Pipeline()
	queue(pipe)
	cmds := pipe.Cmds()
	var err error
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		err = execOnCluster(ctx, cluster, cmds)
	} else {
		cmds, err = pipe.Exec(ctx)
	}
	if err == nil {
		return
	}
	for _, cmd := range cmds {
		if c, ok := cmd.(*redis.Cmd); ok && c.Err() == nil && c.Val() == nil {
			c.SetErr(err)
		}
		s.notice(cmd.Err())
	}
}

// sentOnce is a command that a pipeline of a Cluster sends again only to follow a
// redirection. A pipeline that breaks is sent again as a whole by go-redis 9.23, with
// those of its commands that were redirected already: two servers then get such a
// command at one time, and two goroutines write its reply.
type sentOnce struct{ *redis.Cmd }

func (sentOnce) NoRetry() bool { return true }

// execOnCluster executes cmds in one pipeline to each server of a Cluster. Commands that a
// broken connection or a server that is not ready left unanswered are sent again, in their
// order and as often as the options of the client say. It returns the first error seen.
func execOnCluster(ctx context.Context, cluster *redis.ClusterClient, cmds []redis.Cmder) (first error) {
	opts := cluster.Options()
	left := slices.Clone(cmds)
	for attempt := 0; ; attempt++ {
		pipe := cluster.Pipeline()
		for _, cmd := range left {
			_ = pipe.Process(ctx, sentOnce{cmd.(*redis.Cmd)}) // queues it
		}
		if _, err := pipe.Exec(ctx); first == nil {
			first = err
		}
		left = slices.DeleteFunc(left, func(cmd redis.Cmder) bool { return !unanswered(cmd.Err()) })
		if len(left) == 0 || attempt >= opts.MaxRedirects || bounded.Sleep(ctx, min(opts.MinRetryBackoff<<attempt, opts.MaxRetryBackoff)) != nil {
			return first
		}
	}
}

// unanswered reports whether a command that failed with err on a server of a Cluster is
// to be sent again. The client itself tries again where it gets no connection.
func unanswered(err error) bool {
	var network *net.OpError
	var slow net.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrClosed),
		errors.As(err, &network) && network.Op == "dial",
		errors.As(err, &slow) && slow.Timeout(): // the first may be under way: sent again, it may overtake a later write
		return false
	}
	answer := code(err)
	return answer == "" || slices.Contains(notReady, answer)
}
