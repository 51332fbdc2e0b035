package shardstore

import (
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Partitions returns the number of journals of all shards together, idle ones
// too, or 0 if one of them keeps none.
func (s *Store) Partitions() int { return s.partitions }

// Partition returns the partition of key, in the map that is in effect or was
// the last to be.
func (s *Store) Partition(key string) int {
	if s.partitions == 0 {
		return 0
	}
	maps := history{s.own}
	if v := s.last.Load(); v != nil {
		maps = v.maps
	}
	home, since := maps.locate(key)
	sh := s.byName[home.Name]
	return sh.offset + sh.journal.Partition(name(key, since))
}

// Tail implements [driver.Journaler]. When another map has taken effect since a
// position was given out, the answer is a reset, because keys have other
// partitions.
func (s *Store) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := make([]driver.Tail, len(reads))
	if s.partitions == 0 {
		return failedTails(tails, driver.ErrNoJournal)
	}
	v, groups, err := s.prepareTail(ctx, reads)
	if err != nil {
		return failedTails(tails, err)
	}
	each(len(groups), func(i int) { s.tail(ctx, v, groups[i], reads, tails) })
	return tails
}

func failedTails(tails []driver.Tail, err error) []driver.Tail {
	for i := range tails {
		tails[i].Err = err
	}
	return tails
}

// prepareTail is prepare for journals.
func (s *Store) prepareTail(ctx context.Context, reads []driver.TailRead) (*view, []*group, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("shardstore: tail: %w", err)
	}
	byShard := make(map[*shard]*group)
	var groups []*group
	for i, r := range reads {
		sh := s.shardOf(r.Partition)
		if sh == nil {
			return nil, nil, fmt.Errorf("shardstore: tail: partition %d of %d", r.Partition, s.partitions)
		}
		g := byShard[sh]
		if g == nil {
			g = &group{shard: sh}
			byShard[sh] = g
			groups = append(groups, g)
		}
		g.places = append(g.places, i)
	}
	v, err := s.confirmed(ctx, func(*view) []*group { return groups })
	return v, groups, err
}

// shardOf returns the shard that a partition belongs to, nil if none does.
func (s *Store) shardOf(partition int) *shard {
	for _, sh := range s.shards {
		if partition >= sh.offset && partition < sh.offset+sh.partitions {
			return sh
		}
	}
	return nil
}

// tail reads journals of one shard.
func (s *Store) tail(ctx context.Context, v *view, g *group, reads []driver.TailRead, tails []driver.Tail) {
	theirs := make([]driver.TailRead, len(g.places))
	for n, at := range g.places {
		theirs[n] = reads[at]
		theirs[n].Partition -= g.shard.offset
		theirs[n].From = v.tagged(reads[at].From)
	}
	err := g.err
	got := make([]driver.Tail, len(theirs))
	if err == nil {
		sent := time.Now()
		copy(got, g.shard.journal.Tail(ctx, theirs))
		received := time.Now()
		for i := range got {
			g.shard.clock.Observe(sent, received, got[i].Now)
		}
		err = s.stands(ctx, v, g.shard)
	}
	for n, at := range g.places {
		switch {
		case err != nil:
			tails[at] = driver.Tail{Err: g.shard.failed(err)}
		case got[n].Err != nil:
			tails[at] = driver.Tail{Err: g.shard.failed(got[n].Err)}
		default:
			s.epochs[reads[at].Partition].Store(got[n].Next.Revision.Epoch)
			tails[at] = s.told(v, got[n])
		}
	}
}

// Recall implements [driver.Recaller]. The error is [driver.ErrNoJournal] if the store of the
// shard is no Recaller.
func (s *Store) Recall(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error) {
	if s.partitions == 0 {
		return nil, driver.ErrNoJournal
	}
	_, groups, err := s.prepareTail(ctx, []driver.TailRead{{Partition: partition}})
	if err != nil {
		return nil, err
	}
	g := groups[0]
	recaller, ok := g.shard.store.(driver.Recaller)
	switch {
	case g.err != nil:
		return nil, g.shard.failed(g.err)
	case !ok:
		return nil, g.shard.failed(driver.ErrNoJournal)
	}
	theirs, err := recaller.Recall(ctx, partition-g.shard.offset, limit)
	return keysOf(theirs), g.shard.failed(err)
}

// keysOf returns entries of a shard as the Store has them, without those that are not of its
// keys.
func keysOf(theirs []driver.JournalEntry) []driver.JournalEntry {
	ours := theirs[:0]
	for _, e := range theirs {
		if key, ok := keyOf(e.Key); ok {
			ours = append(ours, driver.JournalEntry{Key: key, Revision: e.Revision})
		}
	}
	return ours
}

// told turns the answer of a shard into that of the Store.
func (s *Store) told(v *view, t driver.Tail) driver.Tail {
	t.Next = v.tagged(t.Next)
	if !t.Now.IsZero() {
		t.Now = s.now()
	}
	t.Entries = keysOf(t.Entries)
	return t
}

// tagged turns a position of a shard into one that only this view understands,
// and back: to another view it is an entry that is not there.
func (v *view) tagged(p driver.Position) driver.Position {
	if p != (driver.Position{}) {
		p.Nonce ^= v.tag
	}
	return p
}
