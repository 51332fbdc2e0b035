package live

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// store is the way of one server to the store, with the faults on it.
type store struct {
	*memstore.Store
	server   int
	switches *switches
}

var (
	_ driver.Store     = (*store)(nil)
	_ driver.Journaler = (*store)(nil)
	_ driver.Prover    = (*store)(nil)
)

// reach waits until the store answers.
func (s *store) reach(ctx context.Context) error {
	return s.switches.await(ctx, func(f *Faults) bool { return !f.Store && !f.Paused[s.server] })
}

func (s *store) Read(ctx context.Context, keys []string) ([][]byte, error) {
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	return s.Store.Read(ctx, keys)
}

func (s *store) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	if err := s.reach(ctx); err != nil {
		return nil, nil, err
	}
	return s.Store.ReadProven(ctx, keys)
}

func (s *store) Time(ctx context.Context) (time.Time, error) {
	if err := s.reach(ctx); err != nil {
		return time.Time{}, err
	}
	return s.Store.Time(ctx)
}

// Those whose results have errors of their own get them from the store, because ctx has ended.

func (s *store) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	_ = s.reach(ctx)
	return s.Store.Write(ctx, writes)
}

func (s *store) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	_ = s.reach(ctx)
	return s.Store.Fill(ctx, writes)
}

func (s *store) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	_ = s.reach(ctx)
	return s.Store.Acquire(ctx, leases)
}

func (s *store) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	_ = s.reach(ctx)
	return s.Store.Touch(ctx, touches)
}

func (s *store) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	_ = s.reach(ctx)
	return s.Store.Tail(ctx, reads)
}
