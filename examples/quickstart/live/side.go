package live

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readPause  = 25 * time.Millisecond // of a reader, between two reads
	callTime   = 3 * time.Second       // of a read or a write, at most
	followTime = 10 * time.Second      // after which a write is taken never to arrive
)

// side is one of the two caches, and what is known of its answers.
type side struct {
	contender
	traffic  *traffic
	times    histogram // from the begin of a write to the answer of the last server
	switches *switches

	answers, stale atomic.Int64
	acked          acked
	settled        [keys]atomic.Int64 // version that was acknowledged longer ago than Bound
	copies         [servers][keys]copied
	follow         chan struct{} // has a place for each write that is followed
}

// copied is what a server last answered for a key.
type copied struct {
	version atomic.Int64
	since   atomic.Int64 // when answers older than the bound began, in nanoseconds since 1970; 0 if they are not
}

func newSide(number int, s *switches) *side {
	return &side{traffic: &traffic{side: number}, switches: s, follow: make(chan struct{}, 64)}
}

// read reads a key on a server again and again until ctx ends, and judges the answers.
func (s *side) read(ctx context.Context, server, key int) {
	for ctx.Err() == nil {
		if s.switches.runs(ctx, server) == nil {
			s.readOnce(ctx, server, key)
		}
		select {
		case <-ctx.Done():
		case <-time.After(readPause):
		}
	}
}

func (s *side) readOnce(ctx context.Context, server, key int) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	settled := s.settled[key].Load() // before the read begins
	version, err := s.fetch(ctx, server, strconv.Itoa(key))
	if err != nil {
		return
	}
	s.answers.Add(1)
	c := &s.copies[server][key]
	c.version.Store(version)
	if version >= settled {
		c.since.Store(0)
		return
	}
	s.stale.Add(1)
	c.since.CompareAndSwap(0, time.Now().UnixNano())
}

// store writes a version through a server, and has it followed if it was acknowledged.
func (s *side) store(life context.Context, work *sync.WaitGroup, server, key int, version int64) {
	ctx, cancel := context.WithTimeout(life, callTime)
	defer cancel()
	began := time.Now()
	if s.write(ctx, server, strconv.Itoa(key), version) != nil {
		return
	}
	s.acked.add(key, version)
	select {
	case s.follow <- struct{}{}:
		work.Go(func() { // ends with life, or with followTime
			defer func() { <-s.follow }()
			s.followOne(life, key, version, began)
		})
	default: // there are too many
	}
}

// followOne waits until every server that runs answers with the version.
func (s *side) followOne(life context.Context, key int, version int64, began time.Time) {
	ctx, cancel := context.WithTimeout(life, followTime)
	defer cancel()
	for server := range servers {
		for pause := 50 * time.Microsecond; ctx.Err() == nil && !s.switches.now().Paused[server]; pause = min(pause*5/4, 20*time.Millisecond) {
			if got, err := s.fetch(ctx, server, strconv.Itoa(key)); err == nil && got >= version {
				break
			}
			time.Sleep(pause)
		}
	}
	if life.Err() == nil {
		s.times.add(time.Since(began))
	}
}
