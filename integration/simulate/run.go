package simulate

import (
	"context"
	"sync"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// Result is what a run came to.
type Result struct {
	Plan       *Plan
	Verdict    history.Verdict
	Violations []Violation
	Failures   map[string]int // reads that returned an error, by call and error
	Lived      time.Duration  // of the fleet

	fleet *fleet
}

// Run carries out a plan. It has to be called in a bubble of testing/synctest, whose
// time it takes, and returns when all goroutines that it started have ended.
func Run(p *Plan) (*Result, error) {
	f := newFleet(p)
	began := time.Now()
	for node := range p.Nodes {
		if err := f.begin(node); err != nil {
			return nil, err
		}
	}
	ctx, leave := context.WithCancel(f.context)
	defer leave()
	if err := f.neighbours(ctx); err != nil {
		return nil, err
	}
	_ = sleep(f.context, settling)
	f.began = now()
	if p.Quiet {
		for _, l := range f.lives {
			l.before = l.counters()
		}
	}
	f.work()
	f.rest()
	r := &Result{Plan: p, Lived: time.Since(began), fleet: f}
	leave()
	f.close()
	time.Sleep(parting)
	_, r.Verdict = f.oracle.judge()
	r.Violations, r.Failures = f.oracle.violations, f.oracle.failures
	return r, nil
}

// settling is how long a fleet has before work begins, and resting how long after it.
const settling = 2 * time.Second

// parting is how long calls under way may go on once their node is closed: those that were
// granted a lease give it back, and try that for half a second.
const parting = time.Second

// work has all operations and strikes of the plan happen, and waits for their end.
func (f *fleet) work() {
	var strikes, ops sync.WaitGroup
	done := make(chan struct{})
	saving := make(chan struct{})
	go func() { defer close(saving); f.servers.save(done) }()
	for i := range f.plan.Strikes {
		s := &f.plan.Strikes[i]
		strikes.Go(func() {
			f.until(s.At)
			f.strike(s)
		})
	}
	for _, queue := range f.plan.queues() {
		ops.Go(func() { f.operate(queue) })
	}
	ops.Wait()
	strikes.Wait()
	close(done)
	<-saving
}

// until waits for a time of the plan.
func (f *fleet) until(at time.Duration) {
	_ = sleep(f.context, time.Duration(f.began+int64(at)-now()))
}

// queues returns the operations of each worker.
func (p *Plan) queues() [][]*Op {
	all := make([][]*Op, p.Nodes*workers)
	for i := range p.Ops {
		op := &p.Ops[i]
		worker := op.Node*workers + op.Worker
		all[worker] = append(all[worker], op)
	}
	return all
}

// operate carries out the operations of one worker. What its process is not there for is
// left out.
func (f *fleet) operate(queue []*Op) {
	for _, op := range queue {
		f.until(op.At)
		if l := f.life(op.Node); l != nil {
			l.do(op)
		}
	}
}

// rest waits until everything has come to rest, and has every process read every key.
func (f *fleet) rest() {
	_ = sleep(f.context, f.plan.recovery()+4*time.Second)
	f.resting.Store(true)
	var looks sync.WaitGroup
	for node := range f.plan.Nodes {
		if l := f.life(node); l != nil {
			looks.Go(func() {
				for key := range f.plan.allKeys() {
					l.do(&Op{Call: Lookup, Keys: []uint32{uint32(key)}})
				}
			})
		}
	}
	looks.Wait()
	if f.plan.Quiet {
		f.oracle.count()
	}
}

func (f *fleet) close() {
	var ends sync.WaitGroup
	for node := range f.plan.Nodes {
		if l := f.end(node); l != nil {
			ends.Go(l.close)
		}
	}
	ends.Wait()
	f.background.Wait()
	f.servers.close()
}
