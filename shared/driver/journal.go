package driver

import (
	"context"
	"time"
)

// Journaler is implemented by a [Store] that keeps a journal of its writes: the
// step that writes also enters the key and the revision. Leases are not entered, and fills
// with [Write.Journal] alone. Whoever reads the journal from a position on knows every key
// that was written since, or that it cannot know.
//
// A store whose keys live on several servers keeps a journal for each partition
// of them. Revisions rise along a journal, and a key belongs to one partition
// for good.
type Journaler interface {
	// Partitions returns the number of journals; 0 means that this store was
	// told to keep none.
	Partitions() int

	// Partition returns the partition of key, from 0 on.
	Partition(key string) int

	// Tail reads several journals, with one request to each server, and answers
	// in the order of reads. Of each it reads the entries after From, the oldest
	// first, at most Limit. It also writes to the journal's server, so a server
	// that was deposed as primary and knows it can confirm nothing.
	//
	// When the entry at From is not there, because it was trimmed, evicted or
	// lost, or is another one, or when the epoch of the partition is another,
	// continuity is lost: Tail.Reset is set, there are no entries, and
	// Tail.Next is the end of the journal.
	//
	// A store begins a new epoch, once for all callers, when it may have lost
	// writes that it acknowledged: after a restart, after a failover, and when an entry
	// that a caller had read is missing although an older one is there. Epochs
	// of a partition rise, as far as the store can know of earlier ones.
	Tail(ctx context.Context, reads []TailRead) []Tail
}

// Prover is implemented by a [Journaler] whose reads tell how new the server is that
// answered them. A client that holds connections to several servers, of which one was
// the primary before, may read from one and write to another; so a read is believed for
// what it proves itself, and not because another call was answered by the primary.
//
// A store that embeds another one and has a Read of its own needs a ReadProven of its
// own as well: a shared.Tier calls that.
type Prover interface {
	// Proves reports whether reads tell so.
	Proves() bool

	// ReadProven is Store.Read. For each key it also returns the head of the key's
	// partition, as the server that answered had it, read in the same request: the
	// epoch, and the highest revision number that a write of the partition was given.
	// It is zero where the server has none, and where the key was not read.
	ReadProven(ctx context.Context, keys []string) (images [][]byte, heads []Revision, err error)
}

// Recaller is implemented by a [Journaler] whose journals can be read from their ends, for
// people who look at what happened to a key.
type Recaller interface {
	// Recall returns the newest entries of the journal of a partition, the newest first, at
	// most limit. It writes nothing, so the answer may be that of a server that was deposed:
	// nothing is confirmed by it.
	Recall(ctx context.Context, partition, limit int) ([]JournalEntry, error)
}

// Position is a place in the journal of one partition: that of an entry. The
// zero Position is nowhere; a Tail from there is a reset.
type Position struct {
	Revision Revision
	Nonce    uint64 // write id of the entry
	Server   string // which run of which server had it, as the store tells them apart; may be empty
}

// TailRead asks for what follows in the journal of one partition.
type TailRead struct {
	Partition int
	From      Position
	Limit     int // of entries; at least 1
}

// Tail answers a [TailRead].
type Tail struct {
	Entries []JournalEntry
	Next    Position // to read on from
	More    bool     // there may be entries after Next already
	Reset   bool

	// Now is the server's clock at the read; zero if unknown.
	Now time.Time

	// Lost says, with a reset from a position, why continuity is lost; nil if the store
	// does not know.
	Lost error

	// Warning says, with a reset, what may take the journal away again, and what the
	// store cannot notice of what is lost.
	Warning error

	Err error // if not nil, nothing was read
}

// JournalEntry tells of one write.
type JournalEntry struct {
	Key      string // name of the record: see shared.Tier.Records
	Revision Revision
}
