package simulate

import (
	"slices"
	"time"
)

// Plan is all that a run is made of, apart from the order in which the scheduler runs
// goroutines that are ready at the same time. [NewPlan] draws one from a seed, and
// shrinking takes things out of it.
type Plan struct {
	Seed   uint64
	Nodes  int
	Keys   int
	Length time.Duration // of the work; start and rest come on top

	Store Store
	Bus   Bus

	MinReplicas int // that a primary must hear to take writes

	JournalInterval, MaxStaleness time.Duration
	SharedPatience                time.Duration `json:",omitempty"` // a second: readers wait for the shared tier
	Features                      bool          // short lifetimes, fail-safe, refresh ahead, negative entries
	Pace                          float64       // of operations, 1 for the usual
	Slow                          bool          // packets and loads take long
	Neighbours                    int           `json:",omitempty"` // processes of another fleet on the same servers
	Crowded                       bool          `json:",omitempty"` // near tiers are as small as may be, so that keys share marks

	// Loaders read replicas of the source that are up to Behind late. SourceLag is the option
	// of the library for that.
	Behind, SourceLag time.Duration `json:",omitempty"`

	Quiet bool `json:",omitempty"` // no faults, and none of what only they excuse

	Spoiled Call `json:",omitempty"` // does not what it says, for tests of the oracle

	Only []string `json:",omitempty"` // faults to draw from, all if empty

	Ops     []Op
	Strikes []Strike
}

// Store is what the shared tier stands on.
type Store string

// Bus is what carries invalidations.
type Bus string

// The stores and buses.
const (
	Redis     Store = "redis"
	Memcached Store = "memcached"

	SameRedis  Bus = "same"  // the server of the shared tier, which publishes what it writes
	OtherRedis Bus = "other" // a server of its own
)

// Op is one operation of a process.
type Op struct {
	At     time.Duration
	Node   int
	Worker int
	Call   Call
	Keys   []uint32
	Peer   int           `json:",omitempty"` // of which process the token is, or the hottest keys are
	TTL    time.Duration `json:",omitempty"` // of a Touch
	Within time.Duration `json:",omitempty"` // of Cache.Close: what it has to deliver what is pending
	Rate   int           `json:",omitempty"` // of Cache.Warm: keys a second
}

// Call is a public operation of the library.
type Call string

// The calls.
const (
	Fetch      Call = "Fetch"
	Get        Call = "Get"
	Lookup     Call = "Lookup"
	LookupAge  Call = "Lookup MaxAge"
	LookupNow  Call = "Lookup FromShared"
	LookupWith Call = "Lookup After"
	FetchMany  Call = "FetchMany"
	GetMany    Call = "GetMany"

	Set        Call = "Set"
	SetMany    Call = "SetMany"
	Delete     Call = "Delete"
	Invalidate Call = "Invalidate"
	Tag        Call = "InvalidateTags"
	Clear      Call = "Clear"
	Barrier    Call = "Barrier"

	Touch        Call = "Touch"
	Refresh      Call = "Refresh"
	Together     Call = "Node.Invalidate"
	TogetherTags Call = "Node.Invalidate Tags"
	TogetherAll  Call = "Node.Invalidate All"
	CloseCaches  Call = "Cache.Close"
	Warm         Call = "Cache.Warm"
)

// workers of a process: one writes, some read, one changes what both caches have, and one reads
// the second cache, and warms and touches both.
const (
	writer  = 0
	readers = 2
	manager = 1 + readers
	visitor = 2 + readers
	workers = 3 + readers
)

// Strike is one fault, from its beginning to its end.
type Strike struct {
	Fault  string
	At     time.Duration
	Length time.Duration
	Node   int    // which process, where that matters
	Roll   uint64 // for what else there is to choose
}

// NewPlan draws a plan.
func NewPlan(from uint64) *Plan {
	dice := seed(from).dice("plan")
	p := &Plan{
		Seed: from, Nodes: 2 + dice.IntN(6), Keys: 40, Length: 60 * time.Second, Pace: 1,
		Store: Redis, Bus: SameRedis, JournalInterval: time.Second, MaxStaleness: 2 * time.Second,
	}
	p.Features = dice.IntN(3) == 0
	if dice.IntN(3) == 0 {
		p.Bus = OtherRedis
	}
	if dice.IntN(3) == 0 {
		p.MinReplicas = 1
	}
	if dice.IntN(3) == 0 {
		p.JournalInterval, p.MaxStaleness = 200*time.Millisecond, 500*time.Millisecond
	}
	p.Slow = dice.IntN(3) == 0
	if dice.IntN(6) == 0 {
		p.Store, p.Bus, p.MinReplicas = Memcached, OtherRedis, 0
	}
	if dice.IntN(3) == 0 { // few keys, which everybody reads and writes
		p.Keys, p.Pace, p.Length = 8, 4, 20*time.Second
	}
	if dice.IntN(60) == 0 {
		p.Nodes, p.Length = 10+dice.IntN(41), 15*time.Second
	}
	if dice.IntN(4) == 0 {
		p.Neighbours = 2
	}
	if p.Store == Redis && dice.IntN(8) == 0 {
		p.SourceLag = time.Duration(500+dice.IntN(1500)) * time.Millisecond
		p.Behind = p.SourceLag
	}
	p.Crowded = dice.IntN(3) == 0
	if seed(from).dice("patience").IntN(2) == 0 {
		p.SharedPatience = time.Second
	}
	p.draw()
	return p
}

// draw draws what happens.
func (p *Plan) draw() {
	p.Ops, p.Strikes = nil, nil
	p.drawOps()
	p.drawStrikes()
}

// writesEach and readsEach are how many operations of a kind a process makes in a
// second, in the mean. A read op may be of several keys, one after the other.
const (
	writesEach = 2.0
	readsEach  = 20.0
	fetchRun   = 9 // keys of a Fetch op

	managedEach = 0.7 // operations of the manager of a process, whatever its pace
)

func (p *Plan) drawOps() {
	for node := range p.Nodes {
		for worker := range workers {
			dice := seed(p.Seed).dice("ops", uint64(node), uint64(worker))
			rate, fill := p.Pace*readsEach/readers, p.drawRead
			switch worker {
			case writer:
				rate, fill = p.Pace*writesEach, p.drawWrite
			case manager:
				rate, fill = managedEach, p.drawManaged
			case visitor:
				fill = p.drawVisit
			}
			for at := after(dice, rate); at < p.Length; at += after(dice, rate) {
				op := Op{At: at, Node: node, Worker: worker}
				fill(dice, &op)
				p.Ops = append(p.Ops, op)
			}
		}
	}
	slices.SortStableFunc(p.Ops, func(a, b Op) int { return int(a.At - b.At) })
}
