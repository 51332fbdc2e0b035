package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

// step is one call of a script: a write, a fill, a lease or a touch.
type step struct {
	write *driver.Write
	fill  bool
	stage string        // where the image is put before, "" if it goes through the script; see stage.go
	room  bool          // a full server refused the write, which makes values absent: it is to make room first
	lease *driver.Lease // in place of write
	touch *driver.Touch // likewise
}

// answer is that to a step.
type answer struct {
	driver.Receipt
	status driver.GrantStatus // for a lease
	image  []byte             // likewise
	born   driver.Revision    // likewise
}

func (a answer) failure() error { return a.Err }
func (a answer) size() int      { return len(a.image) }

func (a answer) grant() driver.Grant {
	return driver.Grant{Status: a.status, Image: a.image, Now: a.Now, Err: a.Err, Revision: a.born}
}

// size is how much of a request a step is, about.
func (st step) size() int {
	switch {
	case st.lease != nil:
		return len(st.lease.Image)
	case st.touch != nil:
		return len(st.touch.Key)
	}
	return len(st.write.Image)
}

// failed is the answer to a step that was not sent, or whose sender left.
func (st step) failed(ctx context.Context, err error) (a answer) {
	op := "write"
	switch {
	case st.lease != nil:
		op = "acquire"
	case st.touch != nil:
		op = "touch"
	}
	a.Err = failed(ctx, op, err)
	return a
}

// largeImage is how long an image is that goes alone, whoever waits.
const largeImage = 16 << 10

// stepsOf returns what turns calls of scripts into fewer requests.
func (s *Store) stepsOf() *combiner[step, answer] {
	return &combiner[step, answer]{
		one: s.stepOne, many: s.stepMany,
		fail: func(ctx context.Context, st step, err error) answer { return st.failed(ctx, err) },
		size: step.size,
		pace: pace{few: fewSteps, most: s.connections(), least: leastPatience},
	}
}

// step carries st out, together with others if there are any.
func (s *Store) step(ctx context.Context, st step) answer {
	if s.single == nil || st.size() >= largeImage {
		return s.stepOne(ctx, st)
	}
	return s.steps.do(ctx, st)
}

func (s *Store) stepOne(ctx context.Context, st step) answer {
	if st.stage != "" {
		return s.stepMany(ctx, []step{st})[0]
	}
	if err := s.ready(ctx); err != nil {
		return st.failed(ctx, err)
	}
	cmd := s.cmd(ctx, st, false)
	if err := s.client.Process(ctx, cmd); err != nil && unknownScript(err) {
		cmd = s.cmd(ctx, st, true)
		_ = s.client.Process(ctx, cmd) // cmd has the error
	}
	s.notice(cmd.Err())
	a := st.answer(ctx, cmd)
	if st.makesRoom(a.Err) {
		st.room = true
		return s.stepOne(ctx, st)
	}
	return a
}

func unknownScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

func (s *Store) stepMany(ctx context.Context, steps []step) []answer {
	answers := make([]answer, len(steps))
	if err := s.ready(ctx); err != nil {
		for i, st := range steps {
			answers[i] = st.failed(ctx, err)
		}
		return answers
	}
	for i, cmd := range s.pipeline(ctx, steps) {
		st := &steps[i]
		answers[i] = st.answer(ctx, cmd)
		switch err := answers[i].Err; {
		case st.makesRoom(err):
			st.room = true
		case s.unstaged(st, err):
			st.stage = ""
		default:
			continue
		}
		answers[i] = s.stepOne(ctx, *st)
	}
	return answers
}

// makesRoom reports whether st, which failed with err, can do what it is to do
// although the server is full: nothing of it was done yet.
func (st *step) makesRoom(err error) bool {
	if err == nil || st.write == nil || st.fill || st.room || code(err) != "OOM" {
		return false
	}
	kind := driver.Kind(st.write.Image[driver.KindOffset])
	return kind == driver.KindTombstone || kind == driver.KindWatermark
}

// pipeline sends all steps at once, in one pipeline to each server, and those whose
// server did not have the script once more with the script.
func (s *Store) pipeline(ctx context.Context, steps []step) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(steps))
	for _, whole := range []bool{false, true} {
		s.pipelined(ctx, func(pipe redis.Pipeliner) {
			for i, st := range steps {
				if cmds[i] == nil && st.stage != "" {
					_ = pipe.Process(ctx, s.stageCmd(ctx, st)) // queues it
				}
				if cmds[i] == nil || unknownScript(cmds[i].Err()) {
					cmds[i] = s.cmd(ctx, st, whole)
					_ = pipe.Process(ctx, cmds[i]) // queues it
				}
			}
		})
	}
	return cmds
}

// cmd returns the call of the script, by its name or with the whole of it.
func (s *Store) cmd(ctx context.Context, st step, whole bool) *redis.Cmd {
	switch {
	case st.lease != nil:
		return s.acquireCmd(ctx, st.lease, whole)
	case st.touch != nil:
		return s.touchCmd(ctx, st.touch, whole)
	}
	return s.writeCmd(ctx, st, whole)
}

// answer reads what the script answered.
func (st step) answer(ctx context.Context, cmd *redis.Cmd) answer {
	switch {
	case st.lease != nil:
		return acquired(ctx, cmd)
	case st.touch != nil:
		return touched(ctx, cmd)
	}
	return answer{Receipt: receipt(ctx, cmd)}
}
