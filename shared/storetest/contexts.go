package storetest

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared"
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
	_, err = s.store.Acquire(ctx, lease("free", 1))
	s.fails(err, want, "acquire")
	s.fails(s.store.Fill(ctx, filling("leased", value("new"), token)).Err, want, "fill")
	for _, writes := range [][]shared.Write{
		{write("key", value("new"))},
		{write("key", value("new")), write("another", value("new"))},
	} {
		receipts := s.store.Write(ctx, writes)
		s.require(len(receipts) == len(writes), "%d receipts for %d writes", len(receipts), len(writes))
		for _, r := range receipts {
			s.fails(r.Err, want, "write")
		}
	}

	s.holds("key", "value")
	s.empty("another")
	s.empty("free")
	s.require(s.record("leased").Nonce == token, "the lease is not there any more")
}
