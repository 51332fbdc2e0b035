package nearsql

import (
	"sync/atomic"
	"time"
)

// Stats tell how a relay does. Counters, which are uint64, only rise; the rest is how the
// outbox was when the relay last saw it, every 5 s: that of all relays and caches.
type Stats struct {
	Delivered uint64 // rows that this relay delivered and deleted
	SetAside  uint64 // rows that this relay set aside; see Relay.Run
	Failures  uint64 // rounds that the database failed, and batches that a cache failed

	Pending int // rows not delivered yet; 10,000 stands for that many or more
	Aside   int // rows in nearbus_outbox_aside, likewise

	// Oldest is the age of the oldest pending row, by the clock of the database, and the time
	// since it was seen; zero if there was none.
	Oldest time.Duration

	// Unseen is how long ago the outbox was last seen, since NewRelay if it never was. It
	// grows while the database is away, or Run is not running.
	Unseen time.Duration
}

// Stats returns how the relay does. It does not ask the database.
func (r *Relay) Stats() Stats {
	s := Stats{Delivered: r.delivered.Load(), SetAside: r.asideTotal.Load(), Failures: r.failures.Load()}
	saw := r.seen.Load()
	s.Unseen = time.Since(saw.at)
	s.Pending, s.Aside = saw.pending, saw.aside
	if saw.pending > 0 {
		s.Oldest = saw.oldest + s.Unseen
	}
	return s
}

type counters struct {
	delivered, asideTotal, failures atomic.Uint64
	seen                            atomic.Pointer[seen] // never nil
}

// seen is the backlog at a time.
type seen struct {
	backlog
	at time.Time
}
