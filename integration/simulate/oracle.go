package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// Violation is a promise that was broken.
type Violation struct {
	Promise string // as in the guarantees of the design: G1 to G8
	What    string
	Node    int
	Life    int
	Read    history.Record
	Known   history.Moment // when better was known; zero if that is not the point
}

// oracle collects what was promised, and holds it against what was answered.
type oracle struct {
	fleet *fleet

	mu         sync.Mutex // protects the fields below
	violations []Violation
	forgiven   int // violations at a time at which nothing is promised
	landed     int // violations that only a clock that was set back explains
	claims     []claim
	barriers   []barrier
	abandoned  map[version]history.Moment // see fleet.abandoned
	failures   map[string]int             // of reads, by error
	quiet      quiet
}

// claim is what an answer says of itself, to be held against the whole history.
type claim struct {
	life  *life
	call  Call
	read  history.Record
	age   time.Duration
	least int64 // version that a token demanded
}

// barrier is a barrier that was answered.
type barrier struct {
	life       *life
	start, end history.Moment
}

func newOracle(f *fleet) *oracle { return &oracle{fleet: f, failures: make(map[string]int)} }

func (o *oracle) violated(v Violation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fleet.isForgiven(&v.Read) {
		o.forgiven++
		return
	}
	o.violations = append(o.violations, v)
}

// failedRead is told of each read that returned an error. Where there is a loader, only
// the source may fail, for this process or the one that loads for it.
func (o *oracle) failedRead(l *life, call Call, r *history.Record, err error) {
	if errors.Is(err, errSource) || errors.Is(err, nearcache.ErrClosed) || l.over.Load() || o.fleet.source.failedSince(r.Start) {
		return
	}
	o.mu.Lock()
	o.failures[fmt.Sprintf("%s: %v", call, err)]++
	o.mu.Unlock()
	if call != Get && call != GetMany {
		what := fmt.Sprintf("%s failed although the source answers: %v", call, err)
		if errors.Is(err, context.DeadlineExceeded) {
			what = fmt.Sprintf("%s was not answered in %s although the source answers", call, callTimeout)
		}
		o.violated(Violation{Promise: "G7", What: what, Node: l.node, Life: l.number, Read: *r})
	}
}

// foreign is told of values that nobody wrote.
func (o *oracle) foreign(l *life, call Call, r *history.Record, value int64) {
	o.violated(Violation{
		Promise: "G8", What: fmt.Sprintf("%s returned %d, which nobody wrote", call, value), Node: l.node, Life: l.number, Read: *r,
	})
}

// answer is told of the answers of Read.
func (o *oracle) answer(l *life, op *Op, start history.Moment, a nearcache.Result[int64], least int64) {
	version, _ := versionOf(op.Keys[0], a.Value)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.claims = append(o.claims, claim{
		life: l, call: op.Call, age: a.Age, least: least,
		read: history.Record{Kind: history.Read, Key: op.Keys[0], Version: version, Start: start, End: now()},
	})
}

func (o *oracle) barrier(l *life, start history.Moment, answered int, err error) {
	o.erred(l, Barrier, start, err)
	if others := o.fleet.plan.Nodes - 1; o.fleet.plan.Quiet && answered != others {
		o.unquiet(l, fmt.Sprintf("%d processes answered a barrier, of %d", answered, others), history.Record{Start: start, End: now()})
	}
	if err != nil {
		return // it may wait for somebody who is cut off
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.barriers = append(o.barriers, barrier{l, start, now()})
}

// history returns what the lives of the run saw.
func (f *fleet) history() *history.History {
	h := &history.History{Latest: f.source.latest(), AbsentAt: absentAt, Losses: f.losses}
	for _, l := range f.lives {
		h.Lives = append(h.Lives, l.records)
	}
	return h
}

// promises are those that the rules of histories know, by what they call them.
var promises = map[string]string{
	"back in time": "G2", "own write missed": "G1", "later than the bound": "G4", "stale at rest": "G4",
}

// judge goes through the whole run.
func (o *oracle) judge() (*history.History, history.Verdict) {
	f := o.fleet
	f.credit()
	h := f.history()
	verdict := h.Check(func(life int, r *history.Record) time.Duration { return f.bound(f.lives[life].node, r) })
	o.abandoned = f.abandoned()
	for _, b := range verdict.Broken {
		if o.landedLate(&b.Read) {
			o.landed++
			continue
		}
		if b.Promise == "back in time" && f.setBack(0, b.Read.End) {
			o.landed++ // revisions that nobody told of are ahead of the clock, and of floors
			continue
		}
		if o.withoutOrder(&b) {
			o.forgiven++
			continue
		}
		o.violated(Violation{
			Promise: promises[b.Promise], What: b.Promise, Node: f.lives[b.Life].node, Life: b.Life, Read: b.Read, Known: b.Known,
		})
	}
	kept := h.Acknowledged(true)
	o.judgeClaims(kept)
	o.judgeBarriers(h)
	if f.plan.Quiet {
		o.judgeQuiet(h)
	}
	return h, verdict
}

// withoutOrder reports whether a read went back behind one that may have been loaded and
// not stored: without a journal nothing tells what is older then.
func (o *oracle) withoutOrder(b *history.Broken) bool {
	f := o.fleet
	return f.plan.Store == Memcached && b.Promise == "back in time" && f.troubled(f.lives[b.Life].node, b.Known, b.Known, false)
}

// version is one of a key.
type version struct {
	key    uint32
	number int64
}

// abandoned returns when each write began that its writer gave up.
func (f *fleet) abandoned() map[version]history.Moment {
	all := make(map[version]history.Moment)
	for _, l := range f.lives {
		for _, r := range l.records {
			if r.Kind == history.GaveUp {
				all[version{r.Key, r.Version}] = r.Start
			}
		}
	}
	return all
}

// landedLate reports whether a read may be of a write that was given up, and landed after
// its deadline: Memcached knows none, and those of Redis are by a clock that may be set back.
func (o *oracle) landedLate(r *history.Record) bool {
	at, ok := o.abandoned[version{r.Key, r.Version}]
	return ok && (o.fleet.plan.Store == Memcached || o.fleet.setBack(at, r.End))
}

// setBack reports whether the clock of the shared tier was set back in a time. The
// deadline of a write that was on its way then is later than its writer meant.
func (f *fleet) setBack(from, to history.Moment) bool {
	return slices.ContainsFunc(f.setBacks, func(at history.Moment) bool { return at >= from && at <= to })
}

// judgeClaims holds answers against their own words.
func (o *oracle) judgeClaims(kept *history.Acks) {
	for _, c := range o.claims {
		if o.landedLate(&c.read) {
			continue
		}
		v := Violation{Node: c.life.node, Life: c.life.number, Read: c.read}
		if c.read.UpTo() < c.least && kept.Between(c.read.Key, c.read.UpTo(), c.least) {
			v.Promise, v.What = "Token", fmt.Sprintf("the token stands for version %d", c.least)
			o.violated(v)
		}
		r := c.read
		r.Start = r.End - int64(c.age)
		missed, since := kept.Age(&r)
		switch {
		case missed == 0 || o.fleet.plan.Store != Redis:
		case o.fleet.lackedByServer(c.life.name, &r, since):
			o.forgiven++
		default:
			v.Promise, v.Known = "Age", since
			v.What = fmt.Sprintf("%s says that nothing older than %s is missing", c.call, c.age)
			o.violated(v)
		}
	}
}

// judgeBarriers holds what the others answered after a barrier against what its node had
// written before it. Those that were silent when it was asked may not have been waited
// for.
func (o *oracle) judgeBarriers(h *history.History) {
	f := o.fleet
	for _, b := range o.barriers {
		floor := b.floor()
		for n, life := range h.Lives {
			if l := f.lives[n]; l != b.life && l.began.UnixNano() <= b.start && !f.silent(l.node, b.start) {
				o.judgeBarrier(&b, floor, l, life)
			}
		}
	}
}

// floor returns the highest version of each key that the node of b had written before it.
func (b *barrier) floor() map[uint32]int64 {
	floor := make(map[uint32]int64)
	for _, r := range b.life.records {
		if r.Kind == history.Acked && r.End < b.start {
			floor[r.Key] = max(floor[r.Key], r.Version)
		}
	}
	return floor
}

func (o *oracle) judgeBarrier(b *barrier, floor map[uint32]int64, l *life, records []history.Record) {
	for i := range records {
		r := &records[i]
		if r.Answered() && !r.Stale && !r.Absent && r.Start > b.end && r.UpTo() < floor[r.Key] && !o.landedLate(r) {
			o.violated(Violation{
				Promise: "Barrier", What: fmt.Sprintf("process %d had written version %d before it", b.life.node, floor[r.Key]),
				Node: l.node, Life: l.number, Read: *r, Known: b.end,
			})
		}
	}
}
