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

	"github.com/nearbus/nearbus/shared/driver"
)

// notReady are the answers of a server that may give another soon: it loads its
// data, its replicas are away, or another server is, or becomes, the primary.
var notReady = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"}

// refusals are the answers of a server that takes no writes, and what to do.
var refusals = map[string]string{
	"OOM": "it is full: raise maxmemory, or let it evict records: maxmemory-policy volatile-lru",
	"MISCONF": "it could not write a snapshot to its disk, and its log says why: mend that, " +
		"or set stop-writes-on-bgsave-error no",
	"NOREPLICAS": "replicas are away or too slow, or another server took over: see min-replicas-to-write",
	"READONLY":   "it is a replica: the client must reach the primary, which may be changing",
}

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
	err = explained(err)
	if end != nil && !errors.Is(err, end) {
		return fmt.Errorf("redisstore: %s: %w (%w)", op, end, err)
	}
	return fmt.Errorf("redisstore: %s: %w", op, err)
}

// explained adds to an error of the server what callers decide on, and what people are to do.
func explained(err error) error {
	code := code(err)
	if slices.Contains(notReady, code) {
		err = fmt.Errorf("%w (%w)", err, driver.ErrUnavailable)
	}
	if code == "OOM" {
		err = fmt.Errorf("%w (%w)", err, driver.ErrFull)
	}
	if do, refused := refusals[code]; refused {
		return fmt.Errorf("%w (%w: %s)", err, driver.ErrRefused, do)
	}
	for _, sign := range refusedInScript {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("NOPERM: the user of Redis lacks a right that a script needs; "+
				"docs/operations.md lists them, ACL LOG of the server names this one: %w", err)
		}
	}
	return err
}
