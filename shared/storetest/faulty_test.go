package storetest_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// faulty is a store in memory with some of its methods replaced. By default
// each does what the contract asks.
type faulty struct {
	*memstore.Store
	read    func(ctx context.Context, keys []string) ([][]byte, error)
	heads   func(keys []string, heads []shared.Revision) []shared.Revision
	write   func(ctx context.Context, w shared.Write) shared.Receipt
	fill    func(ctx context.Context, w shared.Write) shared.Receipt
	acquire func(ctx context.Context, l shared.Lease) shared.Grant
	batch   func(ctx context.Context, writes []shared.Write) []shared.Receipt
	fills   func(ctx context.Context, writes []shared.Write) []shared.Receipt
	leases  func(ctx context.Context, leases []shared.Lease) []shared.Grant
	now     func(ctx context.Context) (time.Time, error)
	tail    func(ctx context.Context, r shared.TailRead) shared.Tail
	limit   int

	partitions int
	shuffles   bool // answers about several journals in another order
	partition  func(key string) int
}

func newFaulty(fault func(*faulty)) *faulty {
	const limit = 64 << 10
	inner := memstore.New(memstore.Options{MaxImage: limit})
	f := &faulty{Store: inner, read: inner.Read, now: inner.Time, limit: limit}
	f.heads = func(_ []string, heads []shared.Revision) []shared.Revision { return heads }
	f.partitions, f.partition = inner.Partitions(), inner.Partition
	f.tail = func(ctx context.Context, r shared.TailRead) shared.Tail {
		return inner.Tail(ctx, []shared.TailRead{r})[0]
	}
	f.write = func(ctx context.Context, w shared.Write) shared.Receipt {
		return inner.Write(ctx, []shared.Write{w})[0]
	}
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		return inner.Fill(ctx, []shared.Write{w})[0]
	}
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		return inner.Acquire(ctx, []shared.Lease{l})[0]
	}
	f.batch, f.fills, f.leases = f.eachWrite, f.eachFill, f.eachLease
	fault(f)
	return f
}

func (f *faulty) Read(ctx context.Context, keys []string) ([][]byte, error) { return f.read(ctx, keys) }

func (f *faulty) ReadProven(ctx context.Context, keys []string) ([][]byte, []shared.Revision, error) {
	images, err := f.read(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	_, heads, err := f.Store.ReadProven(ctx, keys)
	return images, f.heads(keys, heads), err
}

func (f *faulty) Write(ctx context.Context, writes []shared.Write) []shared.Receipt {
	return f.batch(ctx, writes)
}

func (f *faulty) Fill(ctx context.Context, writes []shared.Write) []shared.Receipt {
	return f.fills(ctx, writes)
}

func (f *faulty) Acquire(ctx context.Context, leases []shared.Lease) []shared.Grant {
	return f.leases(ctx, leases)
}

func (f *faulty) eachWrite(ctx context.Context, writes []shared.Write) []shared.Receipt {
	return each(ctx, writes, f.write)
}

func (f *faulty) eachFill(ctx context.Context, writes []shared.Write) []shared.Receipt {
	return each(ctx, writes, f.fill)
}

func (f *faulty) eachLease(ctx context.Context, leases []shared.Lease) []shared.Grant {
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

func (f *faulty) Tail(ctx context.Context, reads []shared.TailRead) []shared.Tail {
	tails := make([]shared.Tail, len(reads))
	for i, r := range reads {
		tails[i] = f.tail(ctx, r)
	}
	if f.shuffles {
		slices.Reverse(tails)
	}
	return tails
}

func (f *faulty) MaxImage() int { return f.limit }

// changing makes every write and fill pass through change first.
func (f *faulty) changing(change func(*shared.Write)) {
	write, fill := f.write, f.fill
	f.write = func(ctx context.Context, w shared.Write) shared.Receipt {
		change(&w)
		return write(ctx, w)
	}
	f.fill = func(ctx context.Context, w shared.Write) shared.Receipt {
		change(&w)
		return fill(ctx, w)
	}
}

// naming makes every key another one.
func (f *faulty) naming(name func(string) string) {
	f.changing(func(w *shared.Write) { w.Key = name(w.Key) })
	read, acquire := f.read, f.acquire
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		names := make([]string, len(keys))
		for i, key := range keys {
			names[i] = name(key)
		}
		return read(ctx, names)
	}
	f.acquire = func(ctx context.Context, l shared.Lease) shared.Grant {
		l.Key = name(l.Key)
		return acquire(ctx, l)
	}
}

// peek returns what is stored under key.
func (f *faulty) peek(key string) (image []byte, header shared.Record) {
	images, _ := f.Store.Read(context.Background(), []string{key})
	header, _ = shared.DecodeHeader(images[0])
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

func kindOf(image []byte) shared.Kind { return shared.Kind(image[shared.KindOffset]) }

func nonceOf(image []byte) uint64 { return binary.BigEndian.Uint64(image[shared.NonceOffset:]) }

// clear leaves nothing under key.
func (f *faulty) clear(key string) {
	r := shared.Record{Kind: shared.KindTombstone, Nonce: shared.NewNonce()}
	f.Store.Write(context.Background(), []shared.Write{{Key: key, Image: r.Append(nil), TTL: 1}})
	for image, _ := f.peek(key); image != nil; image, _ = f.peek(key) {
		time.Sleep(time.Millisecond)
	}
}
