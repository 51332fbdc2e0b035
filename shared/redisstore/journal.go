package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared"
)

// Partitions returns Options.Partitions, or 0 without a journal.
func (s *Store) Partitions() int {
	if s.opts.JournalLength < 0 {
		return 0
	}
	return s.opts.Partitions
}

// journalLength is the length of the journal of one partition.
func (s *Store) journalLength() int {
	if s.opts.JournalLength < 0 {
		return 0
	}
	return max(s.opts.JournalLength/s.opts.Partitions, 1)
}

// Tail implements [shared.Journaler].
func (s *Store) Tail(ctx context.Context, partition int, from shared.Position, limit int) (shared.Tail, error) {
	if err := ctx.Err(); err != nil {
		return shared.Tail{}, failed(ctx, "tail", err)
	}
	if s.opts.JournalLength < 0 {
		return shared.Tail{}, shared.ErrNoJournal
	}
	limit = max(limit, 1)
	tail, err := s.tail(ctx, partition, from, limit)
	if err != nil {
		return shared.Tail{}, failed(ctx, "tail", err)
	}
	tail.More = len(tail.Entries) == limit
	return tail, nil
}

// tail asks whether the journal can be read on, and reads on, in one
// transaction. The server may not know the script yet.
func (s *Store) tail(ctx context.Context, partition int, from shared.Position, limit int) (shared.Tail, error) {
	m := s.metadata(partition)
	keys := []string{m, journal(m)}
	args := []any{word(from.Revision.Epoch), from.Revision.Number, word(from.Nonce)}
	tail, err := s.readOn(ctx, tailScript.EvalSha, keys, args, limit)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return s.readOn(ctx, tailScript.Eval, keys, args, limit)
	}
	return tail, err
}

type runner func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

func (s *Store) readOn(ctx context.Context, run runner, keys []string, args []any, limit int) (shared.Tail, error) {
	var position, entries *redis.Cmd
	_, err := s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		position = run(ctx, pipe, keys, args...)
		id := strconv.FormatUint(args[1].(uint64), 10) + "-0"
		entries = pipe.Do(ctx, "XRANGE", keys[1], id, "+", "COUNT", limit+1)
		return nil
	})
	if err != nil {
		return shared.Tail{}, err
	}
	tail, err := readPosition(position)
	if err == nil && !tail.Reset {
		err = readEntries(&tail, entries)
	}
	return tail, err
}

// readPosition reads the answer of the tail script.
func readPosition(cmd *redis.Cmd) (tail shared.Tail, err error) {
	answer, err := cmd.Slice()
	if err != nil {
		return tail, err
	}
	if len(answer) != 5 {
		return tail, errAnswer
	}
	epoch, e1 := readWord(answer[0])
	number, e2 := readNumber(answer[2])
	nonce, e3 := readWord(answer[3])
	now, ok := answer[4].(int64)
	if err = errors.Join(e1, e2, e3); err != nil || !ok {
		return tail, errAnswer
	}
	tail.Reset = answer[1] == "1"
	tail.Next = shared.Position{Revision: shared.Revision{Epoch: epoch, Number: number}, Nonce: nonce}
	tail.Now = time.UnixMicro(now)
	return tail, nil
}

// readEntries reads the entries after the position of tail, which the answer
// begins with, and moves it to the last one.
func readEntries(tail *shared.Tail, cmd *redis.Cmd) error {
	entries, err := cmd.Slice()
	if err != nil {
		return err
	}
	for i, entry := range entries {
		number, data, err := readEntry(entry)
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		tail.Next.Revision.Number = number
		tail.Next.Nonce = binary.BigEndian.Uint64([]byte(data[:8]))
		tail.Entries = append(tail.Entries, shared.JournalEntry{Key: data[8:], Revision: tail.Next.Revision})
	}
	return nil
}

// readEntry reads an entry: its id, and its fields, of which there is one.
func readEntry(v any) (number uint64, data string, err error) {
	entry, _ := v.([]any)
	if len(entry) != 2 {
		return 0, "", errAnswer
	}
	id, _ := entry[0].(string)
	fields, _ := entry[1].([]any)
	if len(fields) != 2 {
		return 0, "", errAnswer
	}
	data, _ = fields[1].(string)
	id, _, _ = strings.Cut(id, "-")
	number, err = readNumber(id)
	if err != nil || len(data) < 8 {
		return 0, "", errAnswer
	}
	return number, data, nil
}

func word(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func readWord(v any) (uint64, error) {
	text, ok := v.(string)
	if !ok || len(text) != 8 {
		return 0, errAnswer
	}
	return binary.BigEndian.Uint64([]byte(text)), nil
}

func readNumber(v any) (uint64, error) {
	text, ok := v.(string)
	if !ok {
		return 0, errAnswer
	}
	return strconv.ParseUint(text, 10, 64)
}
