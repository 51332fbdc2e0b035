package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"
)

func unknownScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// call calls a script, by its name or, if the server does not have it, with the
// whole of it. cmd makes the command anew each time.
func (s *Store) call(ctx context.Context, cmd func(whole bool) *redis.Cmd) *redis.Cmd {
	called := cmd(false)
	if err := s.client.Process(ctx, called); err != nil && unknownScript(err) {
		called = cmd(true)
		_ = s.client.Process(ctx, called) // called has the error
	}
	return called
}

// callAll is call for n commands at once: one pipeline to each server, and one
// more for those whose server did not have the script.
func (s *Store) callAll(ctx context.Context, n int, cmd func(i int, whole bool) *redis.Cmd) []*redis.Cmd {
	cmds := make([]*redis.Cmd, n)
	send := func(whole bool, missing func(*redis.Cmd) bool) {
		// An error of the whole is an error of each command.
		_, _ = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range cmds {
				if missing(cmds[i]) {
					cmds[i] = cmd(i, whole)
					_ = pipe.Process(ctx, cmds[i]) // queues it
				}
			}
			return nil
		})
	}
	send(false, func(*redis.Cmd) bool { return true })
	send(true, func(cmd *redis.Cmd) bool { return unknownScript(cmd.Err()) })
	return cmds
}
