package simulate

import (
	"maps"
	"slices"
	"time"
)

// Runner carries out a plan in a bubble of its own.
type Runner func(*Plan) *Result

// attempts is how often a plan is run before it counts as one that breaks nothing: the
// scheduler is not part of the seed.
const attempts = 3

// breaks returns the first violation of a promise in a few runs of a plan, and the run;
// nil if there is none.
func (run Runner) breaks(p *Plan, promise string) (*Result, *Violation) {
	for range attempts {
		r := run(p)
		i := slices.IndexFunc(r.Violations, func(v Violation) bool { return promise == "" || v.Promise == promise })
		if i >= 0 {
			return r, &r.Violations[i]
		}
	}
	return nil, nil
}

// Reproduces returns in how many of some runs of a plan a promise is broken.
func (run Runner) Reproduces(p *Plan, promise string, of int) (n int) {
	for range of {
		r := run(p)
		if slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Promise == promise }) {
			n++
		}
	}
	return n
}

// shrinker takes things out of a plan as long as it breaks the same promise.
type shrinker struct {
	run     Runner
	promise string
	left    int // attempts
	best    *Result
	broken  *Violation
}

// Shrink returns the run of a smaller plan that breaks the same promise as r does first,
// and how. It makes so many attempts at most.
func Shrink(run Runner, r *Result, most int) (*Result, *Violation) {
	s := &shrinker{run: run, promise: r.Violations[0].Promise, left: most, best: r, broken: &r.Violations[0]}
	s.try(s.untilBroken())
	for before := -1; before != s.size() && s.left > 0; {
		before = s.size()
		s.strikes()
		s.nodes()
		s.calls()
		s.ops()
	}
	return s.best, s.broken
}

func (s *shrinker) size() int {
	return len(s.best.Plan.Ops) + len(s.best.Plan.Strikes) + s.best.Plan.Nodes
}

// try runs a plan, and keeps it if it breaks the promise.
func (s *shrinker) try(p *Plan) bool {
	if s.left <= 0 {
		return false
	}
	s.left--
	r, v := s.run.breaks(p, s.promise)
	if r == nil {
		return false
	}
	s.best, s.broken = r, v
	return true
}

func (s *shrinker) copy() *Plan {
	p := *s.best.Plan
	return &p
}

// untilBroken is the plan up to the violation.
func (s *shrinker) untilBroken() *Plan {
	p := s.copy()
	end := time.Duration(s.broken.Read.End-s.best.fleet.began) + time.Second
	p.Length = min(p.Length, end)
	p.Ops = slices.DeleteFunc(slices.Clone(p.Ops), func(o Op) bool { return o.At > end })
	p.Strikes = slices.DeleteFunc(slices.Clone(p.Strikes), func(k Strike) bool { return k.At > end })
	return p
}

// without calls try with less and less taken out of n things at a time: halves first,
// one by one last.
func (s *shrinker) without(n func() int, less func(from, to int) *Plan) {
	for chunk := (n() + 1) / 2; chunk > 0 && s.left > 0; chunk /= 2 {
		for from := 0; from < n() && s.left > 0; {
			if !s.try(less(from, min(from+chunk, n()))) {
				from += chunk
			}
		}
	}
}

func (s *shrinker) strikes() {
	s.without(func() int { return len(s.best.Plan.Strikes) }, func(from, to int) *Plan {
		p := s.copy()
		p.Strikes = slices.Delete(slices.Clone(p.Strikes), from, to)
		return p
	})
}

func (s *shrinker) ops() {
	s.without(func() int { return len(s.best.Plan.Ops) }, func(from, to int) *Plan {
		p := s.copy()
		p.Ops = slices.Delete(slices.Clone(p.Ops), from, to)
		return p
	})
}

// nodes leaves out processes.
func (s *shrinker) nodes() {
	for node := s.best.Plan.Nodes - 1; node >= 0 && s.best.Plan.Nodes > 1; node-- {
		s.try(s.copy().withoutNode(node))
	}
}

// withoutNode leaves out a process, and gives those behind it the numbers before theirs.
func (p *Plan) withoutNode(node int) *Plan {
	p.Nodes--
	renumber := func(n int) int {
		if n > node {
			return n - 1
		}
		return n
	}
	p.Ops = slices.DeleteFunc(slices.Clone(p.Ops), func(o Op) bool {
		return o.Node == node || o.Call == LookupWith && o.Peer == node
	})
	for i := range p.Ops {
		p.Ops[i].Node, p.Ops[i].Peer = renumber(p.Ops[i].Node), renumber(p.Ops[i].Peer)
	}
	p.Strikes = slices.DeleteFunc(slices.Clone(p.Strikes), func(k Strike) bool {
		kind, _ := faultNamed(k.Fault)
		return kind.one && k.Node == node
	})
	for i := range p.Strikes {
		p.Strikes[i].Node = renumber(p.Strikes[i].Node)
	}
	return p
}

// calls leaves out all operations that do not touch the key in question, and all of one
// kind.
func (s *shrinker) calls() {
	p := s.copy()
	p.Ops = slices.DeleteFunc(slices.Clone(p.Ops), func(o Op) bool {
		return len(o.Keys) > 0 && !slices.Contains(o.Keys, s.broken.Read.Key)
	})
	s.try(p)
	kinds := make(map[Call]bool)
	for _, o := range s.best.Plan.Ops {
		kinds[o.Call] = true
	}
	for _, call := range slices.Sorted(maps.Keys(kinds)) {
		p := s.copy()
		p.Ops = slices.DeleteFunc(slices.Clone(p.Ops), func(o Op) bool { return o.Call == call })
		s.try(p)
	}
}
