package shared

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Partitions returns the number of journals that the store keeps, 0 if none.
func (t *Tier) Partitions() int {
	if t.journal == nil {
		return 0
	}
	return t.journal.Partitions()
}

// Proves reports whether Read tells how new the server is that answered: see
// [Found].Head and [driver.Prover].
func (t *Tier) Proves() bool { return t.prover != nil }

// Sweeps reports whether watermarks may be taken away by a Fill: see [driver.Sweeper].
func (t *Tier) Sweeps() bool {
	s, ok := t.store.(driver.Sweeper)
	return ok && s.Sweeps()
}

// Partition returns the partition of key, 0 if the store keeps no journal.
func (t *Tier) Partition(key string) int {
	if t.journal == nil {
		return 0
	}
	return t.journal.Partition(t.name(key))
}

// Tail reads journals; see [driver.Journaler]. It makes one attempt and does not go
// through the breaker, since what a node may trust depends on it. The error of
// each is [driver.ErrNoJournal], [ErrClosed], or that of the store.
func (t *Tier) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	switch {
	case t.closed.Load():
		return failedTails(reads, ErrClosed)
	case t.journal == nil:
		return failedTails(reads, driver.ErrNoJournal)
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	sent := time.Now()
	tails := t.journal.Tail(ctx, reads)
	received := time.Now()
	for i := range tails {
		t.clock.observe(sent, received, tails[i].Now)
	}
	return tails
}

func failedTails(reads []driver.TailRead, err error) []driver.Tail {
	tails := make([]driver.Tail, len(reads))
	for i := range tails {
		tails[i].Err = err
	}
	return tails
}
