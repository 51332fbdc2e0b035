package redisstore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

var touchScript = newScript(source("touch.lua"))

// What touch.lua answers.
const (
	touchDone    = 1
	touchGone    = 2
	touchTooLate = 3
)

// Touch implements [driver.Toucher].
func (s *Store) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	if len(touches) == 1 {
		return []driver.Receipt{s.step(ctx, step{touch: &touches[0]}).Receipt}
	}
	steps, receipts := make([]step, len(touches)), make([]driver.Receipt, len(touches))
	for i := range touches {
		steps[i].touch = &touches[i]
	}
	for i, a := range s.stepMany(ctx, steps) {
		receipts[i] = a.Receipt
	}
	return receipts
}

// touchCmd returns the call of touch.lua; see writeCmd.
func (s *Store) touchCmd(ctx context.Context, t *driver.Touch, whole bool) *redis.Cmd {
	revision := binary.BigEndian.AppendUint64(make([]byte, 0, revisionSize), t.Revision.Epoch)
	revision = binary.BigEndian.AppendUint64(revision, t.Revision.Number)
	args := touchScript.begin(make([]any, 0, 7), whole, 1)
	args = append(args, s.recordKey(t.Key), revision, millis(t.TTL), micros(t.NotAfter))
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// touched reads the answer of touch.lua.
func touched(ctx context.Context, cmd *redis.Cmd) (a answer) {
	values, err := cmd.Int64Slice()
	if err == nil && len(values) != 2 {
		err = errAnswer
	}
	if err != nil {
		a.Err = failed(ctx, "touch", err)
		return a
	}
	a.Now = time.UnixMicro(values[1])
	switch values[0] {
	case touchDone:
	case touchGone:
		a.Err = driver.ErrNotFound
	case touchTooLate:
		a.Err = driver.ErrTooLate
	default:
		a.Err = failed(ctx, "touch", errAnswer)
	}
	return a
}
