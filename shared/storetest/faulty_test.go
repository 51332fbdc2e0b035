package storetest_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// faulty is a store in memory with some of its methods replaced. By default
// each does what the contract asks.
type faulty struct {
	*memstore.Store
	read    func(ctx context.Context, keys []string) ([][]byte, error)
	heads   func(keys []string, heads []driver.Revision) []driver.Revision
	write   func(ctx context.Context, w driver.Write) driver.Receipt
	fill    func(ctx context.Context, w driver.Write) driver.Receipt
	acquire func(ctx context.Context, l driver.Lease) driver.Grant
	batch   func(ctx context.Context, writes []driver.Write) []driver.Receipt
	fills   func(ctx context.Context, writes []driver.Write) []driver.Receipt
	leases  func(ctx context.Context, leases []driver.Lease) []driver.Grant
	touch   func(ctx context.Context, t driver.Touch) driver.Receipt
	touches func(ctx context.Context, touches []driver.Touch) []driver.Receipt
	now     func(ctx context.Context) (time.Time, error)
	tail    func(ctx context.Context, r driver.TailRead) driver.Tail
	recall  func(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error)
	limit   int

	hidesSwept bool

	partitions int
	shuffles   bool // answers about several journals in another order
	partition  func(key string) int
}

func newFaulty(fault func(*faulty)) *faulty {
	const limit = 64 << 10
	inner := memstore.New(memstore.Options{MaxImage: limit})
	f := &faulty{Store: inner, read: inner.Read, now: inner.Time, limit: limit}
	f.heads = func(_ []string, heads []driver.Revision) []driver.Revision { return heads }
	f.partitions, f.partition = inner.Partitions(), inner.Partition
	f.tail = func(ctx context.Context, r driver.TailRead) driver.Tail {
		return inner.Tail(ctx, []driver.TailRead{r})[0]
	}
	f.recall = inner.Recall
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		return inner.Write(ctx, []driver.Write{w})[0]
	}
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		return inner.Fill(ctx, []driver.Write{w})[0]
	}
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		return inner.Acquire(ctx, []driver.Lease{l})[0]
	}
	f.touch = func(ctx context.Context, t driver.Touch) driver.Receipt {
		return inner.Touch(ctx, []driver.Touch{t})[0]
	}
	f.batch, f.fills, f.leases, f.touches = f.eachWrite, f.eachFill, f.eachLease, f.eachTouch
	fault(f)
	return f
}

func (f *faulty) Read(ctx context.Context, keys []string) ([][]byte, error) { return f.read(ctx, keys) }

func (f *faulty) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	images, err := f.read(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	_, heads, err := f.Store.ReadProven(ctx, keys)
	return images, f.heads(keys, heads), err
}

func (f *faulty) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return f.batch(ctx, writes)
}

func (f *faulty) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return f.fills(ctx, writes)
}

func (f *faulty) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	return f.leases(ctx, leases)
}

func (f *faulty) eachWrite(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return each(ctx, writes, f.write)
}

func (f *faulty) eachFill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return each(ctx, writes, f.fill)
}

func (f *faulty) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	return f.touches(ctx, touches)
}

func (f *faulty) eachTouch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	return each(ctx, touches, f.touch)
}

func (f *faulty) eachLease(ctx context.Context, leases []driver.Lease) []driver.Grant {
	return each(ctx, leases, f.acquire)
}

// each does one after the other.
func each[Q, A any](ctx context.Context, asks []Q, do func(context.Context, Q) A) []A {
	answers := make([]A, len(asks))
	for i, ask := range asks {
		answers[i] = do(ctx, ask)
	}
	return answers
}

func (f *faulty) Time(ctx context.Context) (time.Time, error) { return f.now(ctx) }

func (f *faulty) Partitions() int { return f.partitions }

func (f *faulty) Partition(key string) int { return f.partition(key) }

func (f *faulty) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	tails := make([]driver.Tail, len(reads))
	for i, r := range reads {
		tails[i] = f.tail(ctx, r)
	}
	if f.shuffles {
		slices.Reverse(tails)
	}
	return tails
}

func (f *faulty) Recall(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error) {
	return f.recall(ctx, partition, limit)
}

func (f *faulty) MaxImage() int { return f.limit }

// changing makes every write and fill pass through change first.
func (f *faulty) changing(change func(*driver.Write)) {
	write, fill := f.write, f.fill
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		change(&w)
		return write(ctx, w)
	}
	f.fill = func(ctx context.Context, w driver.Write) driver.Receipt {
		change(&w)
		return fill(ctx, w)
	}
}

// naming makes every key another one.
func (f *faulty) naming(name func(string) string) {
	f.changing(func(w *driver.Write) { w.Key = name(w.Key) })
	read, acquire := f.read, f.acquire
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		names := make([]string, len(keys))
		for i, key := range keys {
			names[i] = name(key)
		}
		return read(ctx, names)
	}
	f.acquire = func(ctx context.Context, l driver.Lease) driver.Grant {
		l.Key = name(l.Key)
		return acquire(ctx, l)
	}
}

// peek returns what is stored under key.
func (f *faulty) peek(key string) (image []byte, header driver.Record) {
	images, _ := f.Store.Read(context.Background(), []string{key})
	header, _ = driver.DecodeHeader(images[0])
	return images[0], header
}

// notes are what a fault remembers of keys.
type notes[V any] struct {
	mu sync.Mutex // protects m
	m  map[string]V
}

func newNotes[V any]() *notes[V] { return &notes[V]{m: make(map[string]V)} }

func (n *notes[V]) get(key string) V {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.m[key]
}

func (n *notes[V]) set(key string, v V) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.m[key] = v
}

func kindOf(image []byte) driver.Kind { return driver.Kind(image[driver.KindOffset]) }

func nonceOf(image []byte) uint64 { return binary.BigEndian.Uint64(image[driver.NonceOffset:]) }

// clear leaves nothing under key.
func (f *faulty) clear(key string) {
	r := driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}
	f.Store.Write(context.Background(), []driver.Write{{Key: key, Image: r.Append(nil), TTL: 1}})
	for image, _ := f.peek(key); image != nil; image, _ = f.peek(key) {
		time.Sleep(time.Millisecond)
	}
}
