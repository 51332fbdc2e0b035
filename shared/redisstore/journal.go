package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
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
	m := s.metadata(partition)
	cmd := tailScript.Run(ctx, s.client, []string{m, journal(m)},
		word(from.Revision.Epoch), from.Revision.Number, word(from.Nonce), limit)
	tail, err := readTail(cmd)
	if err != nil {
		return shared.Tail{}, failed(ctx, "tail", err)
	}
	tail.More = len(tail.Entries) == limit
	return tail, nil
}

func word(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// readTail reads the answer of the tail script.
func readTail(cmd *redis.Cmd) (tail shared.Tail, err error) {
	answer, err := cmd.Slice()
	if err != nil {
		return tail, err
	}
	if len(answer) != 6 {
		return tail, errAnswer
	}
	epoch, e1 := readWord(answer[0])
	number, e2 := readNumber(answer[2])
	nonce, e3 := readWord(answer[3])
	now, ok := answer[4].(int64)
	entries, isList := answer[5].([]any)
	if err = errors.Join(e1, e2, e3); err != nil || !ok || !isList || len(entries)%2 != 0 {
		return tail, errAnswer
	}
	tail.Reset = answer[1] == "1"
	tail.Next = shared.Position{Revision: shared.Revision{Epoch: epoch, Number: number}, Nonce: nonce}
	tail.Now = time.UnixMicro(now)
	for i := 0; i < len(entries); i += 2 {
		number, err := readNumber(entries[i])
		data, ok := entries[i+1].(string)
		if err != nil || !ok || len(data) < 8 {
			return tail, errAnswer
		}
		tail.Entries = append(tail.Entries, shared.JournalEntry{
			Key: data[8:], Revision: shared.Revision{Epoch: epoch, Number: number},
		})
	}
	return tail, nil
}

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
