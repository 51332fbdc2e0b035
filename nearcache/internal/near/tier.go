// Package near is the near tier: decoded values in the memory of this process,
// bounded in bytes, with the stamps and marks that keep an old value out.
//
// # Structure
//
// An index, a hash table with lock-free reads, holds at most one entry for each
// key and is the only thing that readers look at. The order, three queues behind
// it, decides which entries stay: see order. Ristretto rules over one of the three,
// the core. It decides by key hash and holds no values, so that none of its queues
// can bring an old value back.
//
// # Validity
//
// The tier counts invalidations. A stamp is that count, read before the first
// byte of a value was requested. A mark is the count that an invalidation
// raised it to: one for each stripe of keys, with the last key invalidated
// told apart from its neighbours, one for each space, and one for each slot of
// tags of a space.
//
// The invariants, all under the lock of the stripe:
//
//   - An entry enters the index only if its stamp is at least the mark of its
//     key, of its space and of its slots, so a load that began before an invalidation leaves
//     nothing behind.
//   - An invalidation raises the mark and takes the entry out in one step, so
//     what is in the index was never invalidated since it came in. A reader
//     therefore compares the mark of the space alone, which a flush raises
//     without a walk through the index, and those of the entry's slots, if it
//     has any.
//   - The flush of a partition raises the mark of the partition first, which is
//     compared when an entry comes in and not at looks, and then takes out, under the
//     locks, what came in before. So once it has ended, no entry of before is in the
//     index whose key or slots are in that partition. A result of before is given to
//     nobody who begins later, whatever its key.
//   - An entry never replaces one of a higher revision of the same epoch.
//   - A value that its mark keeps out is given to those who wait for it all
//     the same, and may be newer than what the index holds or what another load
//     is about to bring. It is news then: older ones go and stay out, so that
//     no later reader of this node is sent back in time.
package near

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// Overhead is what an entry costs beside its piece of memory and its value: its share of the
// index, its place in a queue and the ghosts of others, in bytes.
const Overhead = 32

// small is what a small entry costs in all.
const small = 160

const maxStripes = 4096

// largest is which part of all bytes one entry may cost.
const largest = 4

// Config sets up a Tier.
type Config struct {
	// Bytes is the bound on the cost of all entries together, and the tables of all tags.
	Bytes int64

	// Partitions is the number of horizons; 0 means that entries need none.
	// MaxStaleness is how far back a horizon may be, and ServeStale has entries
	// served, and counted, that are further behind.
	Partitions   int
	MaxStaleness time.Duration
	ServeStale   bool

	// Jumped is called when more time has passed outside than on the clock of
	// this process, which stands still while the machine sleeps, before every
	// entry is made invalid. May be nil.
	Jumped func()

	// Wall is the clock outside; nil means time.Now.
	Wall func() time.Time

	// Faults says which mechanisms are out, in tests.
	Faults fault.Switches
}

// Tier is the near tier of one node.
type Tier struct {
	conf   Config
	clock  clock
	trust  trust // beside the time: a hit reads both
	parts  partitions
	count  atomic.Uint64 // invalidations
	heads  []atomic.Pointer[Entry]
	stripe []stripe

	order  order
	tables tables
	policy policy
	most   atomic.Int64 // cost of an entry
	tally

	spacesMu sync.Mutex               // protects that spaces changes, and free
	spaces   atomic.Pointer[[]*Space] // by number
	free     []uint32                 // numbers of spaces that were closed

	stop chan struct{} // closed by Close
	done sync.WaitGroup
}

type tally struct {
	entries, bytes                 atomic.Int64
	evicted, expired, fenced       atomic.Uint64
	tooLarge, invalidated, skipped atomic.Uint64
	stale                          atomic.Uint64
}

// New returns a running Tier; stop it with Close.
func New(conf Config) (*Tier, error) {
	if conf.Wall == nil {
		conf.Wall = time.Now
	}
	heads := ceilPow2(uint64(max(conf.Bytes/small/4, 64))) // for four entries at most each, on average
	t := &Tier{
		conf:   conf,
		heads:  make([]atomic.Pointer[Entry], heads),
		stripe: make([]stripe, min(max(heads/8, 16), maxStripes)),
		stop:   make(chan struct{}),
	}
	t.spaces.Store(new([]*Space))
	t.trust.init(conf.Partitions, conf.MaxStaleness)
	t.parts.marks = make([]atomic.Uint64, conf.Partitions)
	t.clock.init(conf.Wall())
	t.policy.init(conf.Bytes, t.expel)
	t.order.init(&t.policy, &t.tables)
	t.bound(conf.Bytes)
	t.done.Add(2)
	go t.runClock()   // ends with stop; Close waits
	go t.runJanitor() // ends with stop; Close waits
	return t, nil
}

func ceilPow2(n uint64) uint64 { return 1 << bits.Len64(n-1) }

// Close stops the tier's goroutines and waits for them. Nothing is served from
// then on, whatever is installed.
func (t *Tier) Close() {
	t.spacesMu.Lock()
	for _, s := range *t.spaces.Load() {
		s.mark.Store(math.MaxUint64)
	}
	t.spacesMu.Unlock()
	close(t.stop)
	t.done.Wait()
	t.policy.close()
}

// Jump makes every entry invalid, since nobody knows how old it is. The clock
// calls it when time was lost.
func (t *Tier) Jump() {
	if t.conf.Jumped != nil {
		t.conf.Jumped()
	}
	t.trust.from.Store(t.Now())
	t.Flush()
}

func (t *Tier) head(hash uint64) *atomic.Pointer[Entry] {
	return &t.heads[hash&uint64(len(t.heads)-1)]
}

// stripeOf returns the stripe of a hash. The chains of one head all belong to
// one stripe, since there are no more stripes than heads and both counts are
// powers of two.
func (t *Tier) stripeOf(hash uint64) *stripe {
	return &t.stripe[hash&uint64(len(t.stripe)-1)]
}

// Flush makes every entry of every space invalid, and fences every load and
// write that is under way.
func (t *Tier) Flush() {
	t.spacesMu.Lock()
	defer t.spacesMu.Unlock()
	for _, s := range *t.spaces.Load() {
		s.Clear()
	}
}

// Stats is a snapshot of the tier.
type Stats struct {
	Entries, Bytes int64
	Tables         int64         // bytes of the tables of tags, which entries do without
	Evicted        uint64        // taken out to make room
	Expired        uint64        // swept out: past their lifetime, or invalid since a flush
	Fenced         uint64        // values not installed: invalidated while they were loaded
	TooLarge       uint64        // values not installed: more than a quarter of all bytes
	Invalidated    uint64        // entries taken out by an invalidation
	Skipped        uint64        // invalidations that found what they announce already here
	Stale          uint64        // looks at entries too long unconfirmed to be served, whether they were or not
	ClockLag       time.Duration // longest time beyond a Tick in which the clock stood still
}

// Stats returns the counters.
func (t *Tier) Stats() Stats {
	return Stats{
		Entries: t.entries.Load(), Bytes: t.bytes.Load(), Tables: t.tables.bytes.Load(),
		Evicted: t.evicted.Load(), Expired: t.expired.Load(), Fenced: t.fenced.Load(),
		TooLarge: t.tooLarge.Load(), Invalidated: t.invalidated.Load(), Skipped: t.skipped.Load(),
		Stale: t.stale.Load(), ClockLag: time.Duration(t.clock.lag.Load()),
	}
}

// Space is the part of a Tier that belongs to one cache.
type Space struct {
	tier   *Tier
	seed   maphash.Seed
	mark   atomic.Uint64 // entries with a lower stamp are invalid
	tagged atomic.Uint64 // the highest mark of any slot, once the raise of that is over
	number uint32        // by which its entries know it

	// Where the clock of the cache and the watermarks of its slots are now.
	clockPart func() int
	slotPart  func(slot uint32) int

	admits func(e *Entry, hash uint64, stale bool) bool // see Guard

	slots slotMarks

	share *share // apart, so that what comes and goes does not touch what hits read
}

// share is the part of the tier that a space takes.
type share struct {
	entries, bytes atomic.Int64
	tables         atomic.Int64
	evicted        atomic.Uint64
}

// Share is a snapshot of what a space takes of the tier.
type Share struct {
	Entries, Bytes int64
	Tables         int64  // bytes of the tables of its tags
	Evicted        uint64 // taken out to make room
}

// Share returns what the space takes of the tier.
func (s *Space) Share() Share {
	return Share{s.share.entries.Load(), s.share.bytes.Load(), s.share.tables.Load(), s.share.evicted.Load()}
}

// Space returns a new space. The clock of its cache is in this partition, and so are
// the watermarks of its slots, unless Place says otherwise.
func (t *Tier) Space(partition int) *Space {
	s := &Space{tier: t, seed: maphash.MakeSeed(), share: new(share)}
	s.Place(func() int { return partition }, func(uint32) int { return partition })
	t.spacesMu.Lock()
	defer t.spacesMu.Unlock()
	all := *t.spaces.Load()
	if last := len(t.free) - 1; last >= 0 {
		s.number, t.free = t.free[last], t.free[:last]
		all = slices.Clone(all)
		all[s.number] = s
	} else {
		s.number = uint32(len(all))
		all = append(all, s) // where those who have the shorter list do not look
	}
	t.spaces.Store(&all)
	return s
}

// Place says in which partitions the clock of the cache and the watermarks of its
// slots are, which is asked each time: they move when shards join or leave. It must
// come before the space is used.
func (s *Space) Place(clock func() int, slot func(slot uint32) int) {
	s.clockPart, s.slotPart = clock, slot
}

// Guard has admits asked, under the lock that guards the place of e, before e comes
// in as a value or as a stale one: the last of all comparisons. It must come before
// the space is used.
func (s *Space) Guard(admits func(e *Entry, hash uint64, stale bool) bool) { s.admits = admits }

// spaceOf returns the space of an entry that was installed.
func (t *Tier) spaceOf(e *Entry) *Space { return (*t.spaces.Load())[e.space] }

// Clear makes every entry of the space invalid and fences its loads and writes.
func (s *Space) Clear() uint64 {
	n := s.tier.count.Add(1)
	raise(&s.mark, n)
	return n
}

// Hash returns the hash of key in this space.
func (s *Space) Hash(key string) uint64 { return maphash.String(s.seed, key) }
