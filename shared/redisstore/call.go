package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A script that is called costs Redis and the client more than what most of its commands do:
// the call, its arguments, the time, the metadata. So leases of a partition share a call, and
// so do writes and fills. The text of one lease and of one write is the same in both kinds
// of calls, and each is carried out by itself: what fails of one is the answer to it.
//
// Redis does nothing else while a call runs. Hence a call is bounded, and what takes long goes
// alone: long images, and leases for long records. A full server refuses nothing any more
// once a script has deleted something: what makes room shares calls only with its like.

const (
	// maxInCall bounds the steps of a call, and callBytes about how many bytes they send.
	maxInCall = 64
	callBytes = 32 << 10
)

// call is one request for one or several steps.
type call struct {
	partition *partition
	steps     []*step
	places    []int // of the steps among all
	bytes     int
	cmd       *redis.Cmd
}

// company is what steps have in common that may share a call.
type company struct {
	partition *partition
	lease     bool
	room      bool
	channel   string
}

// callsOf returns calls for those of steps whose places these are.
func (s *Store) callsOf(steps []step, places []int) []call {
	calls, open := make([]call, 0, 1+len(places)/maxInCall), make(map[company]int)
	for _, i := range places {
		st := &steps[i]
		p := &s.partitions[s.Partition(st.key())]
		if !st.shares() {
			calls = append(calls, call{partition: p, steps: []*step{st}, places: []int{i}})
			continue
		}
		with := company{partition: p, lease: st.lease != nil, room: st.room, channel: st.channel()}
		at, ok := open[with]
		if size := st.size() + len(st.key()); !ok || len(calls[at].steps) == maxInCall || calls[at].bytes+size > callBytes {
			at = len(calls)
			open[with] = at
			calls = append(calls, call{partition: p})
		}
		c := &calls[at]
		c.steps, c.places = append(c.steps, st), append(c.places, i)
		c.bytes += st.size() + len(st.key())
	}
	return calls
}

func (st *step) key() string {
	switch {
	case st.lease != nil:
		return st.lease.Key
	case st.touch != nil:
		return st.touch.Key
	}
	return st.write.Key
}

// channel returns the one that st is announced on, "" for none.
func (st *step) channel() string {
	if st.write == nil || st.write.Announce == nil {
		return ""
	}
	return st.write.Announce.Channel
}

// shares reports whether st may be in a call with others.
func (st *step) shares() bool {
	switch {
	case st.alone, st.touch != nil:
		return false
	case st.lease != nil:
		return len(st.lease.Discard) == 0
	}
	return len(st.write.Image) < longImage && !sweeps(st.write) &&
		(st.write.Announce == nil || st.write.Announce.Channel != "")
}

// apart are the answers to a call that say nothing of each of its steps: while a slot is on
// its way to another server of a Cluster, all keys of a call must be on one of them, and a
// user must have a right to all.
var apart = []string{"TRYAGAIN", "NOPERM"}

// errApart says of a step that it was not carried out, and is to be sent without others.
var errApart = errors.New("it is to be sent alone")

// goesAlone reports whether st, which failed with err, is to be sent without others.
func (st *step) goesAlone(err error) bool { return !st.alone && errors.Is(err, errApart) }

// send sends all calls at once, in one pipeline to each server, and those whose server did
// not have the script once more with the script.
func (s *Store) send(ctx context.Context, calls []call) {
	for _, whole := range []bool{false, true} {
		if whole && !slices.ContainsFunc(calls, func(c call) bool { return unknownScript(c.cmd.Err()) }) {
			return
		}
		s.pipelined(ctx, func(pipe redis.Pipeliner) {
			for i := range calls {
				c := &calls[i]
				if st := c.steps[0]; !whole && st.stage != "" {
					_ = pipe.Process(ctx, s.stageCmd(ctx, st)) // queues it
				}
				if !whole || unknownScript(c.cmd.Err()) {
					c.cmd = s.callCmd(ctx, c, whole)
					_ = pipe.Process(ctx, c.cmd) // queues it
				}
			}
		})
	}
}

// callCmd returns the command of c.
func (s *Store) callCmd(ctx context.Context, c *call, whole bool) *redis.Cmd {
	switch {
	case len(c.steps) == 1:
		return s.cmd(ctx, c.steps[0], whole)
	case c.steps[0].lease != nil:
		return s.acquireMany(ctx, c.partition, c.steps, whole)
	}
	return s.writeMany(ctx, c.partition, c.steps, whole)
}

// answers reads the answers to the steps of c.
func (c *call) answers(ctx context.Context) []answer {
	if len(c.steps) == 1 {
		return []answer{c.steps[0].answer(ctx, c.cmd)}
	}
	n := len(c.steps)
	values, err := c.cmd.Slice()
	switch {
	case err != nil:
		if slices.Contains(apart, code(err)) {
			err = fmt.Errorf("%w (%w)", err, errApart)
		}
		return slices.Repeat([]answer{c.steps[0].failed(ctx, err)}, n)
	case c.steps[0].lease != nil:
		return acquiredMany(ctx, values, n)
	}
	return writtenMany(ctx, values, n)
}

// writtenMany reads the answer to the call for n writes.
func writtenMany(ctx context.Context, values []any, n int) []answer {
	if len(values) != n {
		values = make([]any, n) // each is no answer
	}
	answers := make([]answer, n)
	for i, value := range values {
		err, _ := value.(error)
		answers[i] = answer{Receipt: receipt(ctx, value, err)}
	}
	return answers
}

// names returns those of the records of steps, which are in one piece of memory.
func (p *partition) names(steps []*step) []string {
	size := len(steps) * len(p.prefix)
	for _, st := range steps {
		size += len(st.key())
	}
	var all strings.Builder
	all.Grow(size)
	names := make([]string, len(steps))
	for i, st := range steps {
		at := all.Len()
		all.WriteString(p.prefix)
		all.WriteString(st.key())
		names[i] = all.String()[at:]
	}
	return names
}
