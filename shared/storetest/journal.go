package storetest

import (
	"fmt"
	"slices"

	"github.com/nearbus/nearbus/shared/driver"
)

func journalCases() []testCase {
	return []testCase{
		{"journal tells of every write in order", journal, journalOrder},
		{"journal tells of a batch", journal, journalBatch},
		{"journal tells odd keys as they are", journal, journalOddKeys},
		{"journal tells of nothing that was refused", journal, journalRefused},
		{"journal tells of no leases and fills", journal, journalFills},
		{"receipts tell the number in the journal", journal | revisions, journalNumbers},
		{"tail from nowhere is a reset", journal, tailFromNowhere},
		{"tail from an entry that is not there is a reset", journal | revisions, tailFromElsewhere},
		{"tail goes on where it ended", journal | revisions, tailPages},
		{"tail at the end is empty", journal, tailAtEnd},
		{"journals are tailed together in order", journal, tailTogether},
		{"partition of a key does not change", journal, partitions},
		{"journal misses no concurrent write", journal, journalConcurrent},
		{"journal tells of the fills that say so", journal, journalTellsOfFills},
		{"recall tells of the newest writes first", journal | revisions, recallNewest},
		{"reads tell how new the server is", journal | revisions, readsProve},
	}
}

func (s *scene) journaler() driver.Journaler {
	j, ok := s.store.(driver.Journaler)
	s.require(ok && j.Partitions() > 0, "the store keeps no journal")
	return j
}

// ends returns the end of each journal.
func (s *scene) ends() []driver.Position {
	ends := make([]driver.Position, s.journaler().Partitions())
	for p := range ends {
		ends[p] = s.reset(p, driver.Position{})
	}
	return ends
}

func (s *scene) tail(partition int, from driver.Position, limit int) driver.Tail {
	tails := s.journaler().Tail(s.ctx, []driver.TailRead{{Partition: partition, From: from, Limit: limit}})
	s.require(len(tails) == 1, "%d answers to a read of one journal", len(tails))
	s.noError(tails[0].Err, "tail")
	return tails[0]
}

// reset reads from a position that is not there, and returns the end.
func (s *scene) reset(partition int, from driver.Position) driver.Position {
	tail := s.tail(partition, from, 10)
	s.require(tail.Reset && len(tail.Entries) == 0 && !tail.More,
		"tail from %+v: reset is %t, with %d entries", from, tail.Reset, len(tail.Entries))
	s.require(tail.Next.Revision.Epoch != 0, "a journal without an epoch")
	return tail.Next
}

// since returns the entries of all partitions after positions, which it moves
// on.
func (s *scene) since(at []driver.Position) (entries []driver.JournalEntry) {
	for p := range at {
		for more := true; more; {
			tail := s.tail(p, at[p], 3)
			s.require(!tail.Reset, "tail from an entry that is there: reset")
			s.require(len(tail.Entries) <= 3, "tail of 3: %d entries", len(tail.Entries))
			s.require(tail.Next != at[p] || len(tail.Entries) == 0 && !tail.More, "tail does not get on")
			entries = append(entries, tail.Entries...)
			at[p], more = tail.Next, tail.More
		}
	}
	return entries
}

// tells requires that entries are these writes, in this order if they are of
// one key.
func (s *scene) tells(entries []driver.JournalEntry, want ...driver.JournalEntry) {
	if s.harness.NoRevisions {
		entries = slices.Clone(entries)
		for i := range entries {
			entries[i].Revision = driver.Revision{}
		}
		for i := range want {
			want[i].Revision = driver.Revision{}
		}
	}
	if len(want) > 1 && want[0].Key != want[len(want)-1].Key {
		sort := func(a, b driver.JournalEntry) int {
			if a.Key < b.Key {
				return -1
			}
			return 1
		}
		slices.SortFunc(entries, sort)
		slices.SortFunc(want, sort)
	}
	s.require(slices.Equal(entries, want), "the journal tells of %.200q, not of %.200q", fmt.Sprint(entries), fmt.Sprint(want))
}

func journalOrder(s *scene) {
	at := s.ends()
	var want []driver.JournalEntry
	for _, r := range []driver.Record{value("a"), tombstone(), value("b"), watermark()} {
		receipt := s.put(write("key", r))
		want = append(want, driver.JournalEntry{Key: "key", Revision: receipt.Revision})
	}
	s.tells(s.since(at), want...)
}

func journalBatch(s *scene) {
	at := s.ends()
	var writes []driver.Write
	for i := range 20 {
		writes = append(writes, write(fmt.Sprint("key-", i), value("value")))
	}
	var want []driver.JournalEntry
	for i, r := range s.store.Write(s.ctx, writes) {
		s.noError(r.Err, "write")
		want = append(want, driver.JournalEntry{Key: writes[i].Key, Revision: r.Revision})
	}
	s.tells(s.since(at), want...)
}

func journalOddKeys(s *scene) {
	for key := range oddKeys {
		at := s.ends()
		r := s.set(key, "value")
		s.tells(s.since(at), driver.JournalEntry{Key: key, Revision: r.Revision})
	}
}

func journalRefused(s *scene) {
	at := s.ends()
	w := write("key", value("value"))
	w.NotAfter = s.now().Add(-patience)
	s.fails(s.try(w).Err, driver.ErrTooLate, "late write")
	s.fails(s.tryFill(filling("key", value("value"), 7)).Err, driver.ErrLeaseLost, "fill without a lease")
	s.tells(s.since(at))
}

func journalFills(s *scene) {
	at := s.ends()
	token := s.acquire("key")
	s.fill(filling("key", value("loaded"), token))
	s.tells(s.since(at))
}

// journalNumbers requires that the receipt of a watermark which is days ahead tells the number
// that the journal has it under, and that of a repeated one a number that it has reached.
func journalNumbers(s *scene) {
	at := s.ends()
	ahead := write("clock", watermark())
	ahead.TTL, ahead.Floor = 0, uint64(s.now().Add(3*day).UnixMicro())
	for _, w := range []driver.Write{write("key", value("value")), ahead, write("clock", watermark()), write("key", tombstone())} {
		receipt := s.put(w)
		s.tells(s.since(at), driver.JournalEntry{Key: w.Key, Revision: receipt.Entered()})
	}
	receipt := s.put(ahead)
	s.tells(s.since(at), driver.JournalEntry{Key: "clock", Revision: receipt.Entered()})
	again := s.put(ahead)
	s.require(again.Revision == receipt.Revision, "a repeated write has revision %v, not %v", again.Revision, receipt.Revision)
	s.require(again.Entered() == receipt.Entered(), "a repeated write is said to be in the journal as %v, not %v", again.Entered(), receipt.Entered())
	s.tells(s.since(at))
}

func tailFromNowhere(s *scene) {
	for p := range s.journaler().Partitions() {
		end := s.reset(p, driver.Position{})
		s.require(s.reset(p, driver.Position{}) == end, "the end of a journal moved by being read")
	}
}

func tailFromElsewhere(s *scene) {
	p := s.journaler().Partition("key")
	for _, change := range []func(*driver.Position){
		func(at *driver.Position) { at.Nonce++ },
		func(at *driver.Position) { at.Revision.Number-- },
		func(at *driver.Position) { at.Revision.Number += 1 << 40 },
		func(at *driver.Position) { at.Revision.Epoch++ },
		func(at *driver.Position) { at.Revision.Epoch = 0 },
	} {
		s.set("key", "value")
		from := s.reset(p, driver.Position{})
		s.set("key", "another")
		change(&from)
		last, written := s.reset(p, from).Revision, s.record("key").Revision
		s.require(last == written || last.Epoch > written.Epoch, "a reset does not lead to the end")
	}
}

func tailPages(s *scene) {
	p := s.journaler().Partition("key")
	at := s.reset(p, driver.Position{})
	var revisions []driver.Revision
	for range 5 {
		revisions = append(revisions, s.set("key", "value").Revision)
	}
	for _, n := range []int{2, 2, 1} {
		tail := s.tail(p, at, 2)
		s.require(len(tail.Entries) == n, "%d entries, not %d", len(tail.Entries), n)
		s.require(tail.More || n == 1, "no more entries, though there are")
		s.require(tail.Entries[0].Revision == revisions[0], "not the next entry")
		s.require(tail.Next.Revision == tail.Entries[n-1].Revision, "the next position is not that of the last entry")
		at, revisions = tail.Next, revisions[n:]
	}
}

func tailAtEnd(s *scene) {
	p := s.journaler().Partition("key")
	s.set("key", "value")
	end := s.reset(p, driver.Position{})
	for range 3 {
		tail := s.tail(p, end, 2)
		s.require(!tail.Reset && !tail.More && len(tail.Entries) == 0 && tail.Next == end, "at the end: %+v", tail)
		s.require(!tail.Now.IsZero(), "a tail without the server's time")
	}
}

// tailTogether asks for all journals, forwards and backwards, from their ends
// and from nowhere.
func tailTogether(s *scene) {
	at := s.ends()
	s.set("key", "value")
	var reads []driver.TailRead
	for i := range 2 * len(at) {
		p := min(i, 2*len(at)-1-i)
		reads = append(reads, driver.TailRead{Partition: p, From: at[p], Limit: 5}, driver.TailRead{Partition: p, Limit: 1})
	}
	tails := s.journaler().Tail(s.ctx, reads)
	s.require(len(tails) == len(reads), "%d answers to %d reads", len(tails), len(reads))
	for i, r := range reads {
		t := tails[i]
		s.noError(t.Err, "tail")
		s.require(t.Reset == (r.From == driver.Position{}), "read %d: reset is %t", i, t.Reset)
		told := !t.Reset && r.Partition == s.journaler().Partition("key")
		s.require(told == (len(t.Entries) == 1), "read %d tells of %d writes", i, len(t.Entries))
	}
}

func partitions(s *scene) {
	n := s.journaler().Partitions()
	for i := range 100 {
		key := fmt.Sprint("key-", i)
		p := s.journaler().Partition(key)
		s.require(p >= 0 && p < n, "partition %d of %d", p, n)
		s.require(s.journaler().Partition(key) == p, "%q moved to another partition", key)
	}
}

// journalConcurrent reads a journal while it is written: of every write that
// was acknowledged before a read began, the read tells.
func journalConcurrent(s *scene) {
	const writers, writes = 4, 40
	at, seen := s.ends(), map[string]int{}
	s.together(writers+1, func(i int) error {
		if i == writers {
			for range writes {
				for _, e := range s.since(at) {
					seen[e.Key]++
				}
			}
			return nil
		}
		for j := range writes {
			key := fmt.Sprintf("key-%d-%d", i, j)
			if err := s.store.Write(s.ctx, []driver.Write{write(key, value("value"))})[0].Err; err != nil {
				return err
			}
		}
		return nil
	})
	for _, e := range s.since(at) {
		seen[e.Key]++
	}
	for i := range writers {
		for j := range writes {
			key := fmt.Sprintf("key-%d-%d", i, j)
			s.require(seen[key] == 1, "the journal tells %d times of %q", seen[key], key)
		}
	}
}

// recallNewest requires of a store that recalls that it tells of the newest writes, the newest
// first.
func recallNewest(s *scene) {
	recaller, ok := s.store.(driver.Recaller)
	if !ok {
		return
	}
	const writes = 5
	var want []driver.JournalEntry
	for range writes {
		want = append(want, driver.JournalEntry{Key: "key", Revision: s.set("key", "value").Revision})
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 2, writes} {
		got, err := recaller.Recall(s.ctx, s.journaler().Partition("key"), limit)
		s.noError(err, "recall")
		s.require(slices.Equal(got, want[:limit]), "the newest %d entries are %v, not %v", limit, got, want)
	}
}

// readsProve requires of a store whose reads prove something that each tells the epoch
// of its partition, and a number that no write has passed which was answered before.
func readsProve(s *scene) {
	p, ok := s.store.(driver.Prover)
	s.require(ok && p.Proves(), "a store with a journal does not prove its reads")
	prove := func(keys ...string) []driver.Revision {
		images, heads, err := p.ReadProven(s.ctx, keys)
		s.noError(err, "read")
		s.require(len(images) == len(keys) && len(heads) == len(keys), "%d images and %d heads of %d keys", len(images), len(heads), len(keys))
		return heads
	}
	for _, keys := range [][]string{{"key"}, {"key", "absent"}, {"absent"}} {
		written := s.set("key", "value").Revision
		for i, head := range prove(keys...) {
			if s.journaler().Partition(keys[i]) == s.journaler().Partition("key") {
				s.require(head.Epoch == written.Epoch && head.Number >= written.Number, "a read of %q proves %v, after a write of %v", keys[i], head, written)
			}
		}
	}
	before := prove("key")[0]
	token := s.acquire("other")
	s.fill(filling("other", value("loaded"), token))
	s.put(write("key", tombstone()))
	after := prove("key")[0]
	s.require(after.Number > before.Number, "a write did not move the head from %v", before)
}

// journalTellsOfFills requires that a fill which is to be told of is, under its revision.
func journalTellsOfFills(s *scene) {
	s.set("key", "old")
	at := s.ends()
	w := refreshing("key", "refreshed", s.record("key").Nonce)
	w.Journal = true
	refreshed := s.fill(w)
	s.holds("key", "refreshed")
	w = refreshing("key", "refused", 1)
	w.Journal = true
	s.fails(s.tryFill(w).Err, driver.ErrLeaseLost, "refresh of another record")
	w = filling("leased", value("loaded"), s.acquire("leased"))
	w.Journal = true
	loaded := s.fill(w)
	s.tells(s.since(at), driver.JournalEntry{Key: "key", Revision: refreshed.Revision}, driver.JournalEntry{Key: "leased", Revision: loaded.Revision})
}
