package nearcache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

const tagClock = "users!tags"

// tagClockApart is a store of two servers: the second has the tag clock, the first all else.
type tagClockApart struct {
	*memstore.Store
	clock *memstore.Store

	// deposed is what the tag clock was on a server to which reads of it go; nil: none do.
	deposed atomic.Pointer[tagClockRead]
}

type tagClockRead struct {
	image []byte
	head  driver.Revision
}

// depose has reads of the tag clock go to a server that has what it is now.
func (s *tagClockApart) depose(t *testing.T) {
	t.Helper()
	images, heads, err := s.clock.ReadProven(t.Context(), []string{tagClock})
	require.NoError(t, err)
	s.deposed.Store(&tagClockRead{images[0], heads[0]})
}

func (s *tagClockApart) of(key string) *memstore.Store {
	return []*memstore.Store{s.Store, s.clock}[s.Partition(key)]
}

// Partitions implements [driver.Journaler].
func (s *tagClockApart) Partitions() int { return 2 }

// Partition implements [driver.Journaler].
func (s *tagClockApart) Partition(key string) int {
	if key == tagClock {
		return 1
	}
	return 0
}

// ReadProven implements [driver.Prover].
func (s *tagClockApart) ReadProven(ctx context.Context, keys []string) (images [][]byte, heads []driver.Revision, err error) {
	for _, key := range keys {
		image, head, err := s.of(key).ReadProven(ctx, []string{key})
		if err != nil {
			return nil, nil, err
		}
		if old := s.deposed.Load(); old != nil && key == tagClock {
			image[0], head[0] = old.image, old.head
		}
		images, heads = append(images, image[0]), append(heads, head[0])
	}
	return images, heads, nil
}

func (s *tagClockApart) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := s.ReadProven(ctx, keys)
	return images, err
}

func (s *tagClockApart) Write(ctx context.Context, writes []driver.Write) (receipts []driver.Receipt) {
	for _, w := range writes {
		receipts = append(receipts, s.of(w.Key).Write(ctx, []driver.Write{w})...)
	}
	return receipts
}

func (s *tagClockApart) Fill(ctx context.Context, writes []driver.Write) (receipts []driver.Receipt) {
	for _, w := range writes {
		receipts = append(receipts, s.of(w.Key).Fill(ctx, []driver.Write{w})...)
	}
	return receipts
}

func (s *tagClockApart) Acquire(ctx context.Context, leases []driver.Lease) (grants []driver.Grant) {
	for _, l := range leases {
		grants = append(grants, s.of(l.Key).Acquire(ctx, []driver.Lease{l})...)
	}
	return grants
}

func (s *tagClockApart) Tail(ctx context.Context, reads []driver.TailRead) (tails []driver.Tail) {
	for _, r := range reads {
		store := []*memstore.Store{s.Store, s.clock}[r.Partition]
		tails = append(tails, store.Tail(ctx, []driver.TailRead{{From: r.From, Limit: r.Limit}})...)
	}
	return tails
}

// TestG3_TagClockOfADeposedServer: a node hears by bus that a tag was invalidated, and reads
// the tag clock over an old connection, of a server that does not have it. What it is then is
// not known by the message, which names the write of the watermark, on another server.
func TestG3_TagClockOfADeposedServer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		theirs := &tagClockApart{Store: memstore.New(memstore.Options{}), clock: memstore.New(memstore.Options{})}
		ours := &tagClockApart{Store: theirs.Store, clock: theirs.clock}
		a, b := f.joinOver(ours), f.joinOver(theirs)
		require.NoError(t, b.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", Tags: []string{"t"}}))
		wait(2 * time.Second)
		got, err := a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		require.Equal(t, "old", got)
		ours.depose(t)
		require.NoError(t, b.InvalidateTags(t.Context(), "t"))
		settle()
		for range 2 {
			got, err = a.FetchEntry(t.Context(), "k", loads("new", "t"))
			require.NoError(t, err)
			assert.Equal(t, "new", got)
			wait(3 * time.Second) // the journal has told of it by then
		}
	})
}
