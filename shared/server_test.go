package shared_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// server is a store that is some way off, whose clock is not ours and that
// notes what reaches it. It is for one goroutine.
type server struct {
	driver.Store

	ahead    time.Duration  // its clock is ahead of ours by this
	way      time.Duration  // from here to there
	back     time.Duration  // from there to here
	silent   bool           // its answers to writes do not carry its clock
	late     map[string]int // how often it still refuses writes of a key as late
	maxImage int
	planted  map[string][]byte // reads as this
	fails    map[string]error  // what a call of this name fails with

	calls  []string
	ctx    context.Context // of the latest call
	writes []driver.Write  // of the latest Write or Fill
	lease  driver.Lease    // of the latest Acquire
}

// newServer returns a server that is right here.
func newServer() *server {
	return &server{Store: memstore.New(memstore.Options{}), planted: map[string][]byte{}, late: map[string]int{}, fails: map[string]error{}}
}

func newTier(t *testing.T, store driver.Store, opts shared.Options) *shared.Tier {
	t.Helper()
	tier, err := shared.New(store, opts)
	require.NoError(t, err)
	return tier
}

// called notes the call and lets it travel.
func (s *server) called(ctx context.Context, name string) {
	s.calls = append(s.calls, name)
	s.ctx = ctx
	time.Sleep(s.way)
}

// now returns the server's clock as its answers carry it.
func (s *server) now() time.Time {
	if s.silent {
		return time.Time{}
	}
	return time.Now().Add(s.ahead)
}

// ours turns the deadline for a key on the server's clock into one on ours.
func (s *server) ours(key string, deadline time.Time) time.Time {
	if s.late[key] > 0 {
		s.late[key]--
		return time.Unix(1, 0)
	}
	return deadline.Add(-s.ahead)
}

func (s *server) MaxImage() int { return s.maxImage }

func (s *server) Time(ctx context.Context) (time.Time, error) {
	s.called(ctx, "time")
	now := time.Now().Add(s.ahead)
	time.Sleep(s.back)
	return now, s.fails["time"]
}

func (s *server) Read(ctx context.Context, keys []string) ([][]byte, error) {
	s.called(ctx, "read")
	images, err := s.Store.Read(ctx, keys)
	for i, key := range keys {
		if data, ok := s.planted[key]; ok && err == nil {
			images[i] = data
		}
	}
	time.Sleep(s.back)
	if failure := s.fails["read"]; failure != nil {
		return nil, failure
	}
	return images, err
}

func (s *server) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.called(ctx, "write")
	return s.carryOut(ctx, writes, s.Store.Write)
}

func (s *server) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.called(ctx, "fill")
	return s.carryOut(ctx, writes, s.Store.Fill)
}

func (s *server) carryOut(ctx context.Context, writes []driver.Write, store func(context.Context, []driver.Write) []driver.Receipt) []driver.Receipt {
	s.writes = append([]driver.Write(nil), writes...)
	receipts := make([]driver.Receipt, len(writes))
	for i, w := range writes {
		w.NotAfter = s.ours(w.Key, w.NotAfter)
		receipts[i] = store(ctx, []driver.Write{w})[0]
		receipts[i].Now = s.now()
	}
	time.Sleep(s.back)
	return receipts
}

func (s *server) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	s.called(ctx, "touch")
	receipts := make([]driver.Receipt, len(touches))
	for i, touch := range touches {
		touch.NotAfter = s.ours(touch.Key, touch.NotAfter)
		receipts[i] = s.Store.(driver.Toucher).Touch(ctx, []driver.Touch{touch})[0]
		receipts[i].Now = s.now()
	}
	return receipts
}

func (s *server) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	s.called(ctx, "acquire")
	s.lease = leases[0]
	grants := make([]driver.Grant, len(leases))
	for i, l := range leases {
		l.NotAfter = s.ours(l.Key, l.NotAfter)
		grants[i] = s.Store.Acquire(ctx, []driver.Lease{l})[0]
		grants[i].Now = s.now()
	}
	time.Sleep(s.back)
	return grants
}
