package storetest_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// tails makes every tail pass through change.
func (f *faulty) tails(change func(from shared.Position, tail *shared.Tail)) {
	tail := f.tail
	f.tail = func(ctx context.Context, r shared.TailRead) shared.Tail {
		t := tail(ctx, r)
		change(r.From, &t)
		return t
	}
}

func keepsNoJournal(f *faulty) { f.partitions = 0 }

func backwardsJournal(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) { slices.Reverse(t.Entries) })
}

func journalWithoutDeletes(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) {
		t.Entries = slices.DeleteFunc(t.Entries, func(e shared.JournalEntry) bool {
			_, old := f.peek(e.Key)
			return old.Kind != shared.KindValue
		})
	})
}

func journalTrimsKeys(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) {
		for i := range t.Entries {
			t.Entries[i].Key = strings.TrimSpace(t.Entries[i].Key)
		}
	})
}

// journalsFills tells of what was filled as if it were written.
func journalsFills(f *faulty) {
	fill := f.fill
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		r := fill(ctx, w)
		if r.Err == nil {
			return f.Store.Write(ctx, []shared.Write{write(w.Key, shared.Record{Kind: kindOf(w.Image), Nonce: shared.NewNonce()})})[0]
		}
		return r
	}
}

// journalsRefused tells of writes that were refused.
func journalsRefused(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w shared.Write) shared.Receipt {
		r := write(ctx, w)
		if r.Err != nil {
			f.set(w.Key)
		}
		return r
	}
}

func write(key string, r shared.Record) shared.Write {
	return shared.Write{Key: key, Image: r.Append(nil)}
}

func (f *faulty) set(key string) {
	f.Store.Write(context.Background(), []shared.Write{write(key, shared.Record{Kind: shared.KindValue, Nonce: shared.NewNonce()})})
}

// neverResets goes on from wherever it is asked to.
func neverResets(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) { t.Reset = false })
}

// resetsToFrom leads nowhere after a reset.
func resetsToFrom(f *faulty) {
	f.tails(func(from shared.Position, t *shared.Tail) {
		if from.Revision.Epoch != 0 {
			t.Next = from
		}
	})
}

func knowsNumbersOnly(f *faulty) {
	positions := newNotes[shared.Position]()
	tail := f.tail
	f.tail = func(ctx context.Context, r shared.TailRead) shared.Tail {
		if r.From.Revision.Epoch != 0 {
			r.From.Nonce = positions.get(string(rune(r.From.Revision.Number))).Nonce
		}
		t := tail(ctx, r)
		positions.set(string(rune(t.Next.Revision.Number)), t.Next)
		return t
	}
}

func neverMore(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) { t.More = false })
}

func noTimeOfTail(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) { t.Now = time.Time{} })
}

func endsMove(f *faulty) {
	f.tails(func(_ shared.Position, t *shared.Tail) { f.set("moved") })
}

func movesPartitions(f *faulty) {
	var n atomic.Int64
	f.partition = func(string) int { return int(n.Add(1)) }
}

// losesRaced forgets to enter a write while it is being tailed.
func losesRaced(f *faulty) {
	var n atomic.Int64
	f.tails(func(_ shared.Position, t *shared.Tail) {
		if n.Add(1) > 20 && len(t.Entries) > 1 {
			t.Entries = t.Entries[1:]
		}
	})
}

func answersAboutOthers(f *faulty) { f.shuffles = true }

func ignoresLimit(f *faulty) {
	tail := f.tail
	f.tail = func(ctx context.Context, r shared.TailRead) shared.Tail {
		r.Limit++
		return tail(ctx, r)
	}
}

// provesNothing tells the head of before every write.
func provesNothing(f *faulty) {
	f.heads = func(_ []string, heads []shared.Revision) []shared.Revision {
		for i := range heads {
			heads[i].Number = 1
		}
		return heads
	}
}
