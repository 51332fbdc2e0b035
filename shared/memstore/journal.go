package memstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// journal is the list of the latest writes. It is guarded by the lock of its
// store.
type journal struct {
	limit   int     // entries to keep; negative: none
	entries []entry // by revision, from first on
	first   int
}

type entry struct {
	key      string
	revision driver.Revision
	nonce    uint64
}

func (j *journal) add(e entry) {
	if j.limit < 0 {
		return
	}
	e.key = strings.Clone(e.key)
	j.entries = append(j.entries, e)
	if j.first = max(j.first, len(j.entries)-max(j.limit, 1)); j.first > len(j.entries)/2 {
		j.entries = slices.Clone(j.entries[j.first:])
		j.first = 0
	}
}

// end returns the number of the last entry, 0 if there is none.
func (j *journal) end() uint64 {
	if len(j.entries) == 0 {
		return 0
	}
	return j.entries[len(j.entries)-1].revision.Number
}

// after returns the entries after from, and whether from is one itself.
func (j *journal) after(from driver.Position) ([]entry, bool) {
	kept := j.entries[j.first:]
	at, found := slices.BinarySearchFunc(kept, from, func(e entry, p driver.Position) int {
		return cmp.Compare(e.revision.Number, p.Revision.Number)
	})
	if !found || kept[at].position() != from {
		return nil, false
	}
	return kept[at+1:], true
}

func (e *entry) position() driver.Position {
	return driver.Position{Revision: e.revision, Nonce: e.nonce}
}

// Partitions implements [driver.Journaler].
func (s *Store) Partitions() int {
	if s.opts.JournalLength < 0 {
		return 0
	}
	return 1
}

// Partition implements [driver.Journaler].
func (s *Store) Partition(string) int { return 0 }

// Tail implements [driver.Journaler].
func (s *Store) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	tails := make([]driver.Tail, len(reads))
	for i, r := range reads {
		if err := ctx.Err(); err != nil {
			tails[i].Err = err
			continue
		}
		tails[i] = s.tailLocked(r)
	}
	return tails
}

func (s *Store) tailLocked(r driver.TailRead) driver.Tail {
	switch {
	case s.closed:
		return driver.Tail{Err: driver.ErrClosed}
	case s.log.limit < 0:
		return driver.Tail{Err: driver.ErrNoJournal}
	}
	tail := driver.Tail{Next: r.From, Now: time.Now()}
	entries, ok := s.log.after(r.From)
	if !ok {
		tail.Reset = true
		tail.Next = s.log.entries[len(s.log.entries)-1].position()
		return tail
	}
	if r.Limit < len(entries) {
		entries, tail.More = entries[:max(r.Limit, 1)], true
	}
	for _, e := range entries {
		tail.Entries = append(tail.Entries, driver.JournalEntry{Key: e.key, Revision: e.revision})
		tail.Next = e.position()
	}
	return tail
}

// Recall implements [driver.Recaller].
func (s *Store) Recall(ctx context.Context, _, limit int) ([]driver.JournalEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s.closed:
		return nil, driver.ErrClosed
	case s.log.limit < 0:
		return nil, driver.ErrNoJournal
	}
	var latest []driver.JournalEntry
	for _, e := range slices.Backward(s.log.entries[s.log.first:]) {
		if len(latest) >= limit || e.key == "" { // the first entry of a journal is of no key
			break
		}
		latest = append(latest, driver.JournalEntry{Key: e.key, Revision: e.revision})
	}
	return latest, nil
}

// TrimJournal forgets all entries of the journal. It is for tests of readers
// that were away for too long.
func (s *Store) TrimJournal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restartLocked()
}

// BeginEpoch begins a new epoch, as a server does that may have lost writes. It
// is for tests.
func (s *Store) BeginEpoch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.restartLocked()
}

// restartLocked begins a new journal. It is never empty, so that it has an end.
func (s *Store) restartLocked() {
	s.log.entries, s.log.first = nil, 0
	s.log.add(entry{revision: s.nextLocked(0, time.Now())})
}
