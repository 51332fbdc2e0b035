package redisstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared"
)

// notReady are the answers of a server that may give another soon: it loads its
// data, its replicas are away, or another server is, or becomes, the primary.
var notReady = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"}

// refusedInScript is how servers say that the user may not run a command of a script,
// or use its keys or its channel: Redis up to 7.0, and later ones and Valkey. The first
// does not say which command.
var refusedInScript = []string{"The user executing the script can't ", "ACL failure in script: "}

// inScript is what Redis before 7 puts before the error of a command of a script.
var inScript = regexp.MustCompile(`^(ERR Error running script \(call to f_[0-9a-f]+\): )?(@user_script: ?\d+: )+-?`)

// code returns the first word of an error of the server, by which Redis tells errors
// apart; "" for other errors.
func code(err error) string {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return ""
	}
	text := strings.TrimPrefix(inScript.ReplaceAllString(answer.Error(), ""), "ERR ")
	word, _, _ := strings.Cut(text, " ")
	return word
}

// failed names err, and makes it the error of ctx if that has ended. The
// deadline of a socket can pass a moment before that of its context.
func failed(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	end := ctx.Err()
	if deadline, ok := ctx.Deadline(); end == nil && ok && !time.Now().Before(deadline) {
		end = context.DeadlineExceeded
	}
	switch {
	case end != nil && !errors.Is(err, end):
		return fmt.Errorf("redisstore: %s: %w (%w)", op, end, err)
	case slices.Contains(notReady, code(err)):
		return fmt.Errorf("redisstore: %s: %w (%w)", op, err, shared.ErrUnavailable)
	}
	for _, sign := range refusedInScript {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("redisstore: %s: NOPERM: the user of Redis lacks a right that a script needs; "+
				"docs/operations.md lists them, ACL LOG of the server names this one: %w", op, err)
		}
	}
	return fmt.Errorf("redisstore: %s: %w", op, err)
}

// pipelined sends what queue queues, commands of type *redis.Cmd, in one pipeline to
// each server. What keeps a command from the server becomes its error: go-redis leaves
// it without one if a server refused the connection, for a wrong password for one.
func (s *Store) pipelined(ctx context.Context, queue func(redis.Pipeliner)) {
	cmds, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		queue(pipe)
		return nil
	})
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
