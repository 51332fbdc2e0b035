package storetest_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// tails makes every tail pass through change.
func (f *faulty) tails(change func(from driver.Position, tail *driver.Tail)) {
	tail := f.tail
	f.tail = func(ctx context.Context, r driver.TailRead) driver.Tail {
		t := tail(ctx, r)
		change(r.From, &t)
		return t
	}
}

func keepsNoJournal(f *faulty) { f.partitions = 0 }

func backwardsJournal(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) { slices.Reverse(t.Entries) })
}

func journalWithoutDeletes(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) {
		t.Entries = slices.DeleteFunc(t.Entries, func(e driver.JournalEntry) bool {
			_, old := f.peek(e.Key)
			return old.Kind != driver.KindValue
		})
	})
}

func journalTrimsKeys(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) {
		for i := range t.Entries {
			t.Entries[i].Key = strings.TrimSpace(t.Entries[i].Key)
		}
	})
}

// journalsFills tells of what was filled as if it were written.
func journalsFills(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := fill(ctx, w)
		if r.Err == nil {
			return f.Store.Write(ctx, []driver.Write{write(w.Key, driver.Record{Kind: kindOf(w.Image), Nonce: driver.NewNonce()})})[0]
		}
		return r
	}
}

// tellsNoEntry says of every write that the journal has it under its revision.
func tellsNoEntry(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := write(ctx, w)
		r.Entry = 0
		return r
	}
}

// journalsRefused tells of writes that were refused.
func journalsRefused(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := write(ctx, w)
		if r.Err != nil {
			f.set(w.Key)
		}
		return r
	}
}

func write(key string, r driver.Record) driver.Write {
	return driver.Write{Key: key, Image: r.Append(nil)}
}

func (f *faulty) set(key string) {
	f.Store.Write(context.Background(), []driver.Write{write(key, driver.Record{Kind: driver.KindValue, Nonce: driver.NewNonce()})})
}

// neverResets goes on from wherever it is asked to.
func neverResets(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) { t.Reset = false })
}

// resetsToFrom leads nowhere after a reset.
func resetsToFrom(f *faulty) {
	f.tails(func(from driver.Position, t *driver.Tail) {
		if from.Revision.Epoch != 0 {
			t.Next = from
		}
	})
}

func knowsNumbersOnly(f *faulty) {
	positions := newNotes[driver.Position]()
	tail := f.tail
	f.tail = func(ctx context.Context, r driver.TailRead) driver.Tail {
		if r.From.Revision.Epoch != 0 {
			r.From.Nonce = positions.get(string(rune(r.From.Revision.Number))).Nonce
		}
		t := tail(ctx, r)
		positions.set(string(rune(t.Next.Revision.Number)), t.Next)
		return t
	}
}

func neverMore(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) { t.More = false })
}

func noTimeOfTail(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) { t.Now = time.Time{} })
}

func endsMove(f *faulty) {
	f.tails(func(_ driver.Position, t *driver.Tail) { f.set("moved") })
}

func movesPartitions(f *faulty) {
	var n atomic.Int64
	f.partition = func(string) int { return int(n.Add(1)) }
}

// losesRaced forgets to enter a write while it is being tailed.
func losesRaced(f *faulty) {
	var n atomic.Int64
	f.tails(func(_ driver.Position, t *driver.Tail) {
		if n.Add(1) > 20 && len(t.Entries) > 1 {
			t.Entries = t.Entries[1:]
		}
	})
}

func answersAboutOthers(f *faulty) { f.shuffles = true }

func ignoresLimit(f *faulty) {
	tail := f.tail
	f.tail = func(ctx context.Context, r driver.TailRead) driver.Tail {
		r.Limit++
		return tail(ctx, r)
	}
}

// recallsOldestFirst tells of the newest entries in the order of a tail.
func recallsOldestFirst(f *faulty) {
	recall := f.recall
	f.recall = func(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error) {
		entries, err := recall(ctx, partition, limit)
		slices.Reverse(entries)
		return entries, err
	}
}

// recallsAll ignores the limit.
func recallsAll(f *faulty) {
	recall := f.recall
	f.recall = func(ctx context.Context, partition, _ int) ([]driver.JournalEntry, error) {
		return recall(ctx, partition, 1000)
	}
}

// provesNothing tells the head of before every write.
func provesNothing(f *faulty) {
	f.heads = func(_ []string, heads []driver.Revision) []driver.Revision {
		for i := range heads {
			heads[i].Number = 1
		}
		return heads
	}
}

// journalsNoFills tells of no fill, whatever it says.
func journalsNoFills(f *faulty) { f.changing(func(w *driver.Write) { w.Journal = false }) }
