package storetest

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

func contextCases() []testCase {
	return []testCase{
		{"cancelled context", anything, func(s *scene) {
			ctx, cancel := context.WithCancel(s.ctx)
			cancel()
			s.ended(ctx, context.Canceled)
		}},
		{"expired context", anything, func(s *scene) {
			ctx, cancel := context.WithDeadline(s.ctx, time.Now().Add(-time.Second))
			defer cancel()
			s.ended(ctx, context.DeadlineExceeded)
		}},
	}
}

// ended requires that every method returns want, which is how ctx ended, and
// does nothing.
func (s *scene) ended(ctx context.Context, want error) {
	s.set("key", "value")
	token := s.acquire("leased")

	_, err := s.store.Read(ctx, []string{"key"})
	s.fails(err, want, "read")
	_, err = s.store.Read(ctx, []string{"key", "leased"})
	s.fails(err, want, "batch read")
	_, err = s.store.Time(ctx)
	s.fails(err, want, "time")
	for n := range 2 { // one, or several
		grants := s.store.Acquire(ctx, []driver.Lease{lease("free", 1), lease("another", 2)}[:n+1])
		s.require(len(grants) == n+1, "%d grants for %d leases", len(grants), n+1)
		for _, g := range grants {
			s.fails(g.Err, want, "acquire")
		}
		writes := []driver.Write{filling("leased", value("new"), token), filling("another", value("new"), 2)}[:n+1]
		s.refuses(s.store.Fill(ctx, writes), n+1, want, "fill")
		writes = []driver.Write{write("key", value("new")), write("another", value("new"))}[:n+1]
		s.refuses(s.store.Write(ctx, writes), n+1, want, "write")
		if store, ok := s.store.(driver.Toucher); ok {
			touches := []driver.Touch{s.touchFor("key", 2*time.Hour), s.touchFor("leased", 2*time.Hour)}[:n+1]
			s.refuses(store.Touch(ctx, touches), n+1, want, "touch")
		}
	}

	s.holds("key", "value")
	s.empty("another")
	s.empty("free")
	s.require(s.record("leased").Nonce == token, "the lease is not there any more")
}

// refuses requires n receipts with this error.
func (s *scene) refuses(receipts []driver.Receipt, n int, want error, doing string) {
	s.require(len(receipts) == n, "%s: %d receipts, not %d", doing, len(receipts), n)
	for _, r := range receipts {
		s.fails(r.Err, want, doing)
	}
}
