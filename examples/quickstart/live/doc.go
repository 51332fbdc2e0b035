// Package live is a page on which a fleet of three servers can be broken and looked at: nearbus,
// and beside it a near cache as it is usually written, over stores and buses in memory.
//
// What the page shows happens: both caches are real, every server reads every key all the time,
// and every answer is compared with what was written. Faults are put between the servers and
// their bus or store, the same for both caches. A pause is the one thing that is played: a
// server in the memory of one process cannot stand still, so it gets no message, no answer of
// the store and no request.
package live

import "time"

const (
	servers = 3
	keys    = 12

	// Bound is the age past which an old answer is counted.
	Bound = time.Second

	// The bound holds whatever is broken, because no server of nearbus trusts what it keeps for
	// longer than maxStaleness after it could last read the journal.
	maxStaleness    = 700 * time.Millisecond
	journalInterval = 200 * time.Millisecond

	// storeTimeout is how long a call of the store may take, for both caches.
	storeTimeout = 250 * time.Millisecond

	// timeToLive is that of values, for both caches.
	timeToLive = 10 * time.Minute
)
