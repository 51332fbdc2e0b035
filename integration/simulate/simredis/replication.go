package simredis

import (
	"slices"
	"sync"
	"time"
)

// maxBehind is how many steps wait at most on the way to a replica. With more, the
// replica is sent the whole data set.
const maxBehind = 100_000

// Why a primary hears nothing of a replica.
const (
	silentCut = 1 << iota
	silentFrozen
	silentDown
)

// A link leads from a primary to a replica.
type link struct {
	primary, replica *Server

	mu      sync.Mutex // taken last of all
	lag     time.Duration
	queue   []step
	silent  int       // reasons
	since   time.Time // when there was the first of them
	behind  bool      // too far: the whole data set is to be sent
	ended   bool
	pending bool // deliver is going to be called
}

// A step is what a primary did at once, or all of what it has.
type step struct {
	due     time.Time
	effects [][]string
	all     *data
	replID  string
}

// SetReplicaOf makes the server a replica of another one, which sends it all of its
// data, or of none for nil; [Server.Promote] does what an operator would do then.
func (s *Server) SetReplicaOf(primary *Server) {
	s.mu.Lock()
	old := s.primary
	s.primary = nil
	var l *link
	if primary != nil {
		l = &link{primary: primary, replica: s}
		s.primary = l
	}
	s.mu.Unlock()
	old.end()
	if l != nil {
		primary.mu.Lock()
		primary.replicas = append(primary.replicas, l)
		primary.mu.Unlock()
		l.resync()
	}
}

// Promote makes a replica a primary. What was on its way to it is lost.
func (s *Server) Promote() {
	s.mu.Lock()
	old := s.primary
	if old != nil {
		s.primary = nil
		s.replID2, s.replID = s.replID, newID(s.random)
	}
	s.mu.Unlock()
	old.end()
}

// CutReplication cuts the link of a replica to its primary, or mends it. Both believe
// that it is there: a primary counts a replica for [Options] MinReplicasMaxLag.
func (s *Server) CutReplication(cut bool) {
	s.mu.Lock()
	l := s.primary
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.silence(silentCut, cut)
	l.hurry()
}

// SetReplicationLag sets after how long a replica learns what its primary did. It is for
// what the primary does from then on.
func (s *Server) SetReplicationLag(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.primary; l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lag = lag
	}
}

// propagate notes an effect of the command that is carried out, for the replicas.
func (s *Server) propagate(args ...string) {
	if len(s.replicas) > 0 {
		s.effects = append(s.effects, slices.Clone(args))
	}
}

// shipLocked sends the replicas what was done at once.
func (s *Server) shipLocked() {
	if len(s.effects) == 0 {
		return
	}
	done := s.effects
	s.effects = nil
	for _, l := range s.replicas {
		l.push(step{effects: done})
	}
}

// resyncLocked has replicas sent all data again, to s and by s.
func (s *Server) resyncLocked() {
	s.effects = nil
	for _, l := range s.replicas {
		l.push(step{all: s.data.clone(), replID: s.replID})
	}
	if s.primary != nil {
		s.primary.again()
	}
}

// enoughReplicasLocked reports whether enough replicas were heard of lately.
func (s *Server) enoughReplicasLocked() bool {
	if s.opts.MinReplicas == 0 || s.primary != nil {
		return true
	}
	good := 0
	now := s.opts.Now()
	s.replicas = slices.DeleteFunc(s.replicas, func(l *link) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		heard := l.silent == 0 || now.Sub(l.since) <= s.opts.MinReplicasMaxLag
		if heard {
			good++
		}
		return l.ended && !heard
	})
	return good >= s.opts.MinReplicas
}

// push puts a step on the way.
func (l *link) push(st step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.behind && st.all == nil {
		return
	}
	if st.all != nil {
		l.queue, l.behind = nil, false
	}
	if len(l.queue) >= maxBehind {
		l.queue, l.behind = nil, true
		return
	}
	st.due = time.Now().Add(l.lag)
	l.queue = append(l.queue, st)
	l.awaitLocked(l.lag)
}

// awaitLocked has deliver called after a time.
func (l *link) awaitLocked(d time.Duration) {
	if !l.pending {
		l.pending = true
		time.AfterFunc(d, l.deliver)
	}
}

// hurry has deliver called now.
func (l *link) hurry() { time.AfterFunc(0, l.deliver) }

// deliver has the replica do what has arrived.
func (l *link) deliver() {
	r := l.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.takeLocked(r) {
		r.shipLocked()
	}
}

// takeLocked carries out what has arrived, and reports whether anything had.
func (l *link) takeLocked(r *Server) (any bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = false
	if l.ended || l.silent != 0 {
		return false
	}
	if l.behind {
		time.AfterFunc(0, l.resync)
		return false
	}
	now := time.Now()
	for len(l.queue) > 0 && !l.queue[0].due.After(now) {
		r.applyLocked(l.queue[0])
		l.queue = l.queue[1:]
		any = true
	}
	if len(l.queue) > 0 {
		l.awaitLocked(l.queue[0].due.Sub(now))
	}
	return any
}

// again has the whole data set sent.
func (l *link) again() { time.AfterFunc(0, l.resync) }

// resync sends the whole data set.
func (l *link) resync() {
	p := l.primary
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return // it sends all when it begins again
	}
	l.push(step{all: p.data.clone(), replID: p.replID})
}

// applyLocked does what the primary did.
func (s *Server) applyLocked(st step) {
	if st.all != nil {
		s.data, s.swept = st.all, 0
		s.replID, s.replID2 = st.replID, zeroID
		for _, l := range s.replicas {
			l.push(step{all: s.data.clone(), replID: s.replID})
		}
		return
	}
	s.applying = true
	defer func() { s.applying = false }()
	for _, args := range st.effects {
		commandOf(args[0]).run(s, nil, args)
	}
}

// silence says that the primary hears nothing of the replica for a reason, or that this
// is over.
func (l *link) silence(reason int, silent bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if silent {
		if l.silent == 0 {
			l.since = time.Now()
		}
		l.silent |= reason
		return
	}
	l.silent &^= reason
}

// end ends a link. A primary that is cut off from the replica does not know.
func (l *link) end() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.ended, l.queue = true, nil
	cut := l.silent&silentCut != 0
	l.mu.Unlock()
	if cut {
		return
	}
	p := l.primary
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicas = slices.DeleteFunc(p.replicas, func(other *link) bool { return other == l })
}
