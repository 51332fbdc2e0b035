package monitoring_test

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// faults are what may be broken about a server.
type faults struct {
	busCut     atomic.Bool // the bus cannot be reached
	busDeaf    atomic.Bool // writes of others do not arrive, and all else does
	noJournal  atomic.Bool // the journal cannot be read
	noWrites   atomic.Bool // the store refuses writes
	noStore    atomic.Bool // the store cannot be reached
	sourceDown atomic.Bool // loads fail
}

// brokenTransport is a transport with the faults of a server.
type brokenTransport struct {
	*membus.Transport
	faults *faults
	spans  *spans
}

// invalidations is the type of a message of writes, in its third byte.
const invalidations = 1

func (b *brokenTransport) Publish(ctx context.Context, payload []byte) error {
	defer b.spans.client(ctx)()
	if b.faults.busCut.Load() {
		return errBroken
	}
	return b.Transport.Publish(ctx, payload)
}

func (b *brokenTransport) Receive(ctx context.Context, sink bus.Sink) error {
	if b.faults.busCut.Load() {
		return errBroken
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		switch {
		case b.faults.busCut.Load():
			cancel(errBroken)
		case b.faults.busDeaf.Load() && len(payload) > 2 && payload[2] == invalidations:
		default:
			deliver(payload)
		}
	}
	_ = b.Transport.Receive(ctx, sink)
	return context.Cause(ctx)
}

// brokenStore is a store with the faults of a server.
type brokenStore struct {
	*memstore.Store
	faults *faults
	spans  *spans
}

var (
	_ driver.Journaler = (*brokenStore)(nil)
	_ driver.Prover    = (*brokenStore)(nil)
)

func (b *brokenStore) Read(ctx context.Context, keys []string) ([][]byte, error) {
	defer b.spans.client(ctx)()
	if b.faults.noStore.Load() {
		return nil, driver.ErrUnavailable
	}
	return b.Store.Read(ctx, keys)
}

func (b *brokenStore) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	defer b.spans.client(ctx)()
	if b.faults.noStore.Load() {
		return nil, nil, driver.ErrUnavailable
	}
	return b.Store.ReadProven(ctx, keys)
}

func (b *brokenStore) Time(ctx context.Context) (time.Time, error) {
	if b.faults.noStore.Load() {
		return time.Time{}, driver.ErrUnavailable
	}
	return b.Store.Time(ctx)
}

func (b *brokenStore) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	defer b.spans.client(ctx)()
	if b.faults.noStore.Load() || b.faults.noWrites.Load() {
		return slices.Repeat([]driver.Receipt{{Err: errBroken}}, len(writes))
	}
	return b.Store.Write(ctx, writes)
}

func (b *brokenStore) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	defer b.spans.client(ctx)()
	if b.faults.noStore.Load() || b.faults.noWrites.Load() {
		return slices.Repeat([]driver.Receipt{{Err: errBroken}}, len(writes))
	}
	return b.Store.Fill(ctx, writes)
}

func (b *brokenStore) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	defer b.spans.client(ctx)()
	if b.faults.noStore.Load() || b.faults.noWrites.Load() {
		return slices.Repeat([]driver.Grant{{Err: errBroken}}, len(leases))
	}
	return b.Store.Acquire(ctx, leases)
}

func (b *brokenStore) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	defer b.spans.client(ctx)()
	if b.faults.noStore.Load() || b.faults.noJournal.Load() {
		return slices.Repeat([]driver.Tail{{Err: errBroken}}, len(reads))
	}
	return b.Store.Tail(ctx, reads)
}
