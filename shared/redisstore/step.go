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
	alone bool          // it is not to be in a call with others
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
	cmd := s.cmd(ctx, &st, false)
	if err := s.client.Process(ctx, cmd); err != nil && unknownScript(err) {
		cmd = s.cmd(ctx, &st, true)
		_ = s.client.Process(ctx, cmd) // cmd has the error
	}
	s.notice(cmd.Err())
	a := st.answer(ctx, cmd)
	if s.again(&st, a.Err) {
		return s.stepOne(ctx, st)
	}
	return a
}

func unknownScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// stepMany carries out steps, each of which may change while it runs.
func (s *Store) stepMany(ctx context.Context, steps []step) []answer {
	answers, left := make([]answer, len(steps)), make([]int, len(steps))
	if err := s.ready(ctx); err != nil {
		for i, st := range steps {
			answers[i] = st.failed(ctx, err)
		}
		return answers
	}
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 { // each step at most once for each of its ways
		calls := s.callsOf(steps, left)
		s.send(ctx, calls)
		left = left[:0]
		for i := range calls {
			c := &calls[i]
			for k, a := range c.answers(ctx) {
				if st := c.steps[k]; s.again(st, a.Err) {
					left = append(left, c.places[k])
				}
				answers[c.places[k]] = a
			}
		}
	}
	return answers
}

// again reports whether st, which failed with err, is to be sent in another way, and changes
// it to that. Nothing of it was stored, although the journal may have it.
func (s *Store) again(st *step, err error) bool {
	switch {
	case err == nil:
		return false
	case st.makesRoom(err):
		st.room = true
	case s.unstaged(st, err):
		st.stage = ""
	case st.goesAlone(err):
		st.alone = true
	default:
		return false
	}
	return true
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

// cmd returns the call of the script, by its name or with the whole of it.
func (s *Store) cmd(ctx context.Context, st *step, whole bool) *redis.Cmd {
	switch {
	case st.lease != nil:
		return s.acquireCmd(ctx, st.lease, whole)
	case st.touch != nil:
		return s.touchCmd(ctx, st.touch, whole)
	}
	return s.writeCmd(ctx, st, whole)
}

// answer reads what the script answered.
func (st *step) answer(ctx context.Context, cmd *redis.Cmd) answer {
	switch {
	case st.lease != nil:
		return acquired(ctx, cmd)
	case st.touch != nil:
		return touched(ctx, cmd)
	}
	value, err := cmd.Result()
	return answer{Receipt: receipt(ctx, value, err)}
}
