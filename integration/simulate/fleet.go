package simulate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// Names that processes connect to.
const (
	tierName = "tier"
	busName  = "bus"
)

const cacheName = "simulated"

// fleet is a run: processes, servers, the network between them, and the truth.
type fleet struct {
	plan       *Plan
	seed       seed
	network    *network
	source     *source
	servers    *servers
	oracle     *oracle
	context    context.Context
	background sync.WaitGroup // what is left of lives that crashed
	resting    atomic.Bool
	began      history.Moment // of the work

	mu        sync.Mutex // protects the fields below
	processes []*process
	lives     []*life
	troubles  []trouble
	losses    []history.Loss
	setBacks  []history.Moment // when the clock of the shared tier was set back
	forgiven  []history.Span   // in which nothing is promised
	events    []event
	slow      time.Duration // what loads take more
	struck    []struck
}

// process is a place in the fleet, in which one life follows another.
type process struct {
	life   *life         // nil while there is none
	paused chan struct{} // closed when it goes on; nil if it runs
	frugal bool          // its lives have shorter times than the plan says
}

// event is something to be told in the timeline of a run.
type event struct {
	at   history.Moment
	text string
}

func newFleet(p *Plan) *fleet {
	s := seed(p.Seed)
	f := &fleet{
		plan: p, seed: s, network: newNetwork(s, calm(p.Slow)), source: newSource(p.allKeys()), context: context.Background(),
		processes: make([]*process, p.Nodes),
	}
	f.oracle = newOracle(f)
	f.servers = newServers(f)
	for i := range f.processes {
		f.processes[i] = &process{}
	}
	return f
}

func (f *fleet) newLife(node int) *life {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &life{
		fleet: f, number: len(f.lives), node: node, name: fmt.Sprintf("%s.%d", processName(node), len(f.lives)),
		began: time.Now(), acked: make(map[uint32]int64), frugal: f.processes[node].frugal,
	}
	f.lives = append(f.lives, l)
	return l
}

func processName(node int) string { return fmt.Sprintf("process-%d", node) }

// begin starts a process.
func (f *fleet) begin(node int) error {
	l, err := f.start(node)
	if err != nil {
		return fmt.Errorf("simulate: %s: %w", processName(node), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes[node].life = l
	return nil
}

// end takes the life of a process out of it and returns it; nil if it has none.
func (f *fleet) end(node int) *life {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.processes[node].life
	f.processes[node].life = nil
	return l
}

// life returns the life of a process as soon as it is not paused; nil if it has none.
func (f *fleet) life(node int) *life {
	for {
		f.mu.Lock()
		p := f.processes[node]
		l, paused := p.life, p.paused
		f.mu.Unlock()
		if paused == nil {
			return l
		}
		<-paused
	}
}

// token returns what a process has written of a key, and the version that it stands
// for: the highest that it wrote and that was acknowledged.
func (f *fleet) token(node int, key uint32) (nearcache.ConsistencyToken, int64) {
	f.mu.Lock()
	l := f.processes[node].life
	f.mu.Unlock()
	if l == nil {
		return nearcache.ConsistencyToken{}, 0
	}
	least := l.acknowledged(key)
	token := handedOn(l.cacheOf(key).Token(keyName(key)))
	if l.closing.Load() {
		return nearcache.ConsistencyToken{}, 0 // it may be that of a closed cache
	}
	return token, least
}

// handedOn is a token as whoever is given its text has it.
func handedOn(t nearcache.ConsistencyToken) (read nearcache.ConsistencyToken) {
	if err := read.UnmarshalText([]byte(t.String())); err != nil || read != t {
		panic(fmt.Errorf("simulate: token %s was read as %s: %w", t, read, err))
	}
	return read
}

func (l *life) acknowledged(key uint32) (version int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[key]
}

// loadTime draws how long one load takes.
func (f *fleet) loadTime(name string, key uint32) time.Duration {
	roll := f.seed.mix(name, uint64(key), uint64(time.Now().UnixNano()))
	d := time.Duration(1+roll%8) * time.Millisecond
	if roll>>8%64 == 0 || f.plan.Slow && roll>>8%8 == 0 {
		d += time.Duration(roll>>16%400) * time.Millisecond
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return d + f.slow
}

func (f *fleet) tell(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, event{now(), fmt.Sprintf(format, args...)})
}
