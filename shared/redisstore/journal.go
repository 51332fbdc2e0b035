package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

var rollbackScript = redis.NewScript(source("rollback.lua"))

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

// Tail implements [driver.Journaler].
func (s *Store) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := make([]driver.Tail, len(reads))
	err := s.ready(ctx)
	switch {
	case err != nil:
		err = failed(ctx, "tail", err)
	case s.opts.JournalLength < 0:
		err = driver.ErrNoJournal
	}
	if err != nil {
		for i := range tails {
			tails[i].Err = err
		}
		return tails
	}
	all := make([]int, len(reads))
	for i := range all {
		all[i] = i
	}
	s.tailAll(ctx, reads, tails, all)
	s.readOn(ctx, reads, tails)
	if went := s.wentBack(ctx, reads, tails); len(went) > 0 {
		s.tailAll(ctx, reads, tails, went)
	}
	return tails
}

// fewEntries is how many entries of a journal the script reads. A second one costs about as
// much as a command, and most rounds of most journals find fewer.
const fewEntries = 16

// readOn reads the rest where the script read as many entries as it does, by a command: such a
// journal is busy, and is read so at once the next time. What cannot be read now is left to the
// next call, which finds out why.
func (s *Store) readOn(ctx context.Context, reads []driver.TailRead, tails []driver.Tail) {
	var which []int
	for i := range tails {
		if n := len(tails[i].Entries); tails[i].More && n == fewEntries && reads[i].Limit > n {
			which = append(which, i)
		}
	}
	if len(which) == 0 {
		return // as most rounds do
	}
	rest, more := make([]driver.TailRead, len(reads)), make([]driver.Tail, len(reads))
	for _, i := range which {
		rest[i] = driver.TailRead{Partition: reads[i].Partition, From: tails[i].Next, Limit: reads[i].Limit - fewEntries}
	}
	s.tailAll(ctx, rest, more, which)
	for _, i := range which {
		t := &tails[i]
		if t.More = true; more[i].Err == nil && !more[i].Reset {
			t.Next, t.Now, t.More = more[i].Next, more[i].Now, more[i].More
			t.Entries = append(t.Entries, more[i].Entries...)
			s.partitions[reads[i].Partition].busy.Store(true)
		}
	}
}

// tailAll reads some journals.
func (s *Store) tailAll(ctx context.Context, reads []driver.TailRead, tails []driver.Tail, which []int) {
	again := s.tail(ctx, tailScript.EvalSha, reads, tails, which)
	for range 2 { // with the script, and then with a write, if need be
		if len(again) > 0 {
			again = s.tail(ctx, tailScript.Eval, reads, tails, again)
		}
	}
	for _, i := range again {
		tails[i] = driver.Tail{Err: failed(ctx, "tail", errAnswer)}
	}
}

// wentBack looks at journals that cannot be read on although their epoch is the same. It
// begins a new epoch where the server has lost what was read, and returns those. See
// rollback.lua. A journal that is shorter than one which is trimmed was taken away.
func (s *Store) wentBack(ctx context.Context, reads []driver.TailRead, tails []driver.Tail) (went []int) {
	suspects, kept := make(map[int]*redis.Cmd), make(map[int]*redis.Cmd)
	least := min(s.journalLength(), leastTrimmed)
	s.pipelined(ctx, func(pipe redis.Pipeliner) {
		for i, tail := range tails {
			from := reads[i].From
			if tail.Err == nil && tail.Reset && from.Revision.Epoch == tail.Next.Revision.Epoch {
				m := s.metadata(reads[i].Partition)
				suspects[i] = rollbackScript.Eval(ctx, pipe, []string{m, journal(m)},
					word(from.Revision.Epoch), strconv.FormatUint(from.Revision.Number, 10), word(from.Nonce))
				kept[i] = pipe.Do(ctx, "XRANGE", journal(m), "-", "+", "COUNT", least)
			}
		}
	})
	for i, cmd := range suspects {
		switch began, err := cmd.Int(); {
		case err != nil:
			tails[i] = driver.Tail{Err: failed(ctx, "tail", err)}
		case began == 1:
			went = append(went, i)
		default:
			if entries, err := kept[i].Slice(); err == nil && len(entries) < least {
				tails[i].Lost = errTakenAway
			}
		}
	}
	return went
}

// leastTrimmed is how many entries are looked for in a journal that may have been trimmed.
const leastTrimmed = 1000

// Why a journal cannot be read on.
var (
	errTakenAway = errors.New("the journal was evicted or deleted, and its server was not restarted: " +
		"see maxmemory-policy, and who uses FLUSHALL, FLUSHDB or DEL")
	errMetadataGone = errors.New("the metadata of the journal was evicted, deleted or set back, and its server was not restarted: " +
		"see maxmemory-policy, and who uses FLUSHALL, FLUSHDB, DEL, RESTORE or SWAPDB")
	errOtherServer = errors.New("the server was restarted, or another one took over: it may have lost writes")
)

// lost says why what was at from is there no more, as far as the epochs tell.
func lost(from, next driver.Position) error {
	switch {
	case from == driver.Position{} || from.Revision.Epoch == next.Revision.Epoch || from.Server == "" || next.Server == "":
		return nil
	case sameServer(from.Server, next.Server):
		return errMetadataGone
	}
	return errOtherServer
}

// sameServer reports whether two answers are of one run of a server that was not promoted
// in between. Its second replication id becomes zeros again when it gives up a backlog.
func sameServer(before, now string) bool {
	const run = 40
	return before == now || len(now) == 2*run && strings.HasPrefix(before, now[:run]) && strings.Trim(now[run:], "0") == ""
}

// Recall implements [driver.Recaller].
func (s *Store) Recall(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error) {
	if s.opts.JournalLength < 0 {
		return nil, driver.ErrNoJournal
	}
	if err := s.ready(ctx); err != nil {
		return nil, failed(ctx, "recall", err)
	}
	m := s.metadata(partition)
	var head, newest *redis.Cmd
	s.pipelined(ctx, func(pipe redis.Pipeliner) {
		head = pipe.Do(ctx, "GETRANGE", m, 0, headSize-1)
		newest = pipe.Do(ctx, "XREVRANGE", journal(m), "+", "-", "COUNT", max(limit, 1))
	})
	text, err := head.Text()
	if err != nil {
		return nil, failed(ctx, "recall", err)
	}
	answer, err := newest.Slice()
	if err != nil {
		return nil, failed(ctx, "recall", err)
	}
	epoch, latest := headOf(text).Epoch, make([]driver.JournalEntry, 0, len(answer))
	for i := range answer {
		e, err := readEntry(answer[i])
		if err != nil {
			return nil, failed(ctx, "recall", err)
		}
		if e.key != "" {
			latest = append(latest, driver.JournalEntry{Key: e.key, Revision: driver.Revision{Epoch: epoch, Number: e.number}})
		}
	}
	return latest, nil
}

type runner func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// tail asks for each of some journals whether it can be read on, and reads on, by the script or
// for a busy one by a command after it, in one pipeline. It returns those that it has to be asked
// for again: their server did not know the script, or is to be written to outside of it as well.
// See tail.lua.
//
// Between the script and the command others may write: the second begins with the entry
// that the first saw, and what it lacks then was written, or trimmed, since.
func (s *Store) tail(ctx context.Context, run runner, reads []driver.TailRead, tails []driver.Tail, which []int) (again []int) {
	outside := s.writesOutside.Load()
	positions, entries, proofs := s.ask(ctx, run, reads, which, outside)
	for n, i := range which {
		if redis.HasErrorPrefix(positions[n].Err(), "NOSCRIPT") {
			again = append(again, i)
			continue
		}
		tail, prove, err := readPosition(positions[n], reads[i].From)
		if prove && !outside {
			s.writesOutside.Store(true)
			again = append(again, i)
			continue
		}
		if outside && err == nil {
			err = proofs[n].Err()
		}
		if err == nil && !tail.Reset {
			err = readAfter(&tail, positions[n], entries[n], max(reads[i].Limit, 1))
		}
		if err != nil {
			tail = driver.Tail{Err: failed(ctx, "tail", err)}
		}
		s.partitions[reads[i].Partition].busy.Store(len(tail.Entries) >= fewEntries)
		tails[i] = tail
	}
	return again
}

// ask sends the script for each of some journals, and the commands after it, nil where there are
// none, in one pipeline to each server.
func (s *Store) ask(ctx context.Context, run runner, reads []driver.TailRead, which []int, outside bool) (positions, entries, proofs []*redis.Cmd) {
	positions, entries, proofs = make([]*redis.Cmd, len(which)), make([]*redis.Cmd, len(which)), make([]*redis.Cmd, len(which))
	s.pipelined(ctx, func(pipe redis.Pipeliner) {
		for n, i := range which {
			from := reads[i].From
			m := s.metadata(reads[i].Partition)
			number := strconv.FormatUint(from.Revision.Number, 10)
			inScript, inRange := s.share(reads[i])
			positions[n] = run(ctx, pipe, []string{m, journal(m), absent(m)},
				word(from.Revision.Epoch), number, word(from.Nonce), inScript+1)
			if inRange > 0 {
				entries[n] = pipe.Do(ctx, "XRANGE", journal(m), number+"-0", "+", "COUNT", inRange+1)
			}
			if outside {
				proofs[n] = pipe.Do(ctx, "DEL", absent(m))
			}
		}
	})
	return positions, entries, proofs
}

// share returns how many entries the script reads, and how many the command after it.
func (s *Store) share(read driver.TailRead) (inScript, inRange int) {
	limit := max(read.Limit, 1)
	if limit > fewEntries && s.partitions[read.Partition].busy.Load() {
		return 0, limit
	}
	return min(limit, fewEntries), 0
}

// readAfter reads the entries after the position of tail, from the answer of the command if there
// was one, and else of the script.
func readAfter(tail *driver.Tail, script, command *redis.Cmd, limit int) error {
	if command != nil {
		return readRange(tail, command, limit)
	}
	return readFew(tail, script, min(limit, fewEntries))
}

// readPosition reads the answer of the tail script to who reads on from a position, and
// whether its server is to be written to outside of it.
func readPosition(cmd *redis.Cmd, from driver.Position) (tail driver.Tail, outside bool, err error) {
	answer, err := cmd.Slice()
	if err != nil {
		return tail, false, err
	}
	if len(answer) != 10 {
		return tail, false, errAnswer
	}
	epoch, e1 := readWord(answer[0])
	number, e2 := readNumber(answer[2])
	nonce, e3 := readWord(answer[3])
	now, ok := answer[4].(int64)
	if err = errors.Join(e1, e2, e3); err != nil || !ok {
		return tail, false, errAnswer
	}
	tail.Reset = answer[1] == "1"
	server, _ := answer[8].(string)
	tail.Next = driver.Position{Revision: driver.Revision{Epoch: epoch, Number: number}, Nonce: nonce, Server: server}
	if !tail.Reset {
		tail.Next.Server = from.Server
	}
	tail.Lost = lost(from, tail.Next)
	tail.Now = time.UnixMicro(now)
	tail.Warning = warning(answer[5], answer[6])
	return tail, answer[7] == "1", nil
}

// warning says what may take the journal away, and what nodes may not notice.
func warning(policy, unknown any) error {
	var warnings []string
	if p, _ := policy.(string); strings.HasPrefix(p, "allkeys-") {
		warnings = append(warnings, fmt.Sprintf("maxmemory-policy is %s, which may evict the journal: set noeviction or volatile-*", p))
	}
	if reason, _ := unknown.(string); reason != "" {
		warnings = append(warnings, fmt.Sprintf("the server does not say in scripts which run of it this is (%s): "+
			"a restart or a failover that loses writes may not be noticed", reason))
	}
	if warnings == nil {
		return nil
	}
	return errors.New("redisstore: " + strings.Join(warnings, "; "))
}

// readFew reads the entries that the script read after the position of tail, and moves it to the
// last one.
func readFew(tail *driver.Tail, cmd *redis.Cmd, limit int) error {
	answer, err := cmd.Slice()
	if err != nil {
		return err
	}
	few, ok := answer[9].([]any)
	if !ok {
		return errAnswer // and not that there is nothing new
	}
	entries, err := readEntries(few)
	if err == nil {
		follow(tail, entries, limit)
	}
	return err
}

func readEntries(answer []any) (entries []entry, err error) {
	entries = make([]entry, len(answer))
	for i := range answer {
		if entries[i], err = readEntry(answer[i]); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// follow adds entries to tail, and moves its position to the last one.
func follow(tail *driver.Tail, entries []entry, limit int) {
	for _, e := range entries {
		tail.Next.Revision.Number, tail.Next.Nonce = e.number, e.nonce
		tail.Entries = append(tail.Entries, driver.JournalEntry{Key: e.key, Revision: tail.Next.Revision})
	}
	tail.More = len(tail.Entries) == limit
}

// readRange reads the entries from the position of tail on, and moves it to the
// last one. If the answer does not begin with the entry at the position, that
// was trimmed a moment ago: the next read will find a reset.
func readRange(tail *driver.Tail, cmd *redis.Cmd, limit int) error {
	answer, err := cmd.Slice()
	if err != nil {
		return err
	}
	entries, err := readEntries(answer)
	if err != nil {
		return err
	}
	at := entry{number: tail.Next.Revision.Number, nonce: tail.Next.Nonce}
	if len(entries) == 0 || entries[0].number != at.number || entries[0].nonce != at.nonce {
		tail.More = true
		return nil
	}
	follow(tail, entries[1:], limit)
	return nil
}

// entry is one of a journal. That of a new journal has no key.
type entry struct {
	number, nonce uint64
	key           string
}

// readEntry reads an entry: its id, and its fields, of which there is one.
func readEntry(v any) (e entry, err error) {
	parts, _ := v.([]any)
	if len(parts) != 2 {
		return e, errAnswer
	}
	id, _ := parts[0].(string)
	fields, _ := parts[1].([]any)
	if len(fields) != 2 {
		return e, errAnswer
	}
	data, _ := fields[1].(string)
	id, _, _ = strings.Cut(id, "-")
	number, err := readNumber(id)
	if err != nil || len(data) < 8 {
		return e, errAnswer
	}
	return entry{number, binary.BigEndian.Uint64([]byte(data[:8])), data[8:]}, nil
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
