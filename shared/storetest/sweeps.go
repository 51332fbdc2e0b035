package storetest

import (
	"errors"

	"github.com/nearbus/nearbus/shared/driver"
)

func sweepCases() []testCase {
	return []testCase{
		{"a swept watermark is gone", anything, sweptIsGone},
		{"a watermark written late is no lower than what was swept", anything, sweptThenWritten},
		{"a watermark made late is no lower than what was swept", anything, sweptThenMade},
		{"what was swept counts for no other record", anything, sweptCountsForWatermarks},
		{"a watermark that was raised is not swept", anything, raisedIsNotSwept},
		{"sweeps race writers of a watermark", anything, sweepsRace},
	}
}

// sweeper returns the store if it sweeps, nil otherwise.
func (s *scene) sweeper() driver.Sweeper {
	if sweeper, ok := s.store.(driver.Sweeper); ok && sweeper.Sweeps() {
		return sweeper
	}
	return nil
}

// sweeping returns a fill that sweeps the watermark with this nonce.
func sweeping(key string, expect uint64) driver.Write {
	w := write(key, tombstone())
	w.Expect = expect
	return w
}

// sweep raises the watermark mark to clock, and sweeps it.
func (s *scene) sweep(clock uint64) {
	s.put(marking("mark", clock))
	s.fill(sweeping("mark", s.record("mark").Nonce))
}

func sweptIsGone(s *scene) {
	sweeper := s.sweeper()
	if sweeper == nil {
		return
	}
	for _, clock := range []uint64{7, 5, 9} {
		s.sweep(clock)
		s.require(s.record("mark").Kind == driver.KindTombstone, "a watermark that was swept is there")
	}
	swept, err := sweeper.Swept(s.ctx, []string{"mark", "mark"})
	s.noError(err, "what was swept")
	s.require(len(swept) == 2 && swept[0] == 9 && swept[1] == 9, "of swept clocks 7, 5 and 9 it tells %d", swept)
}

// sweptThenWritten is the raise of a watermark that was on its way for so long that a later
// one was swept.
func sweptThenWritten(s *scene) {
	if s.sweeper() == nil {
		return
	}
	for _, clock := range []uint64{20, 1<<53 + 1, 1 << 60} {
		s.sweep(clock)
		s.put(marking("mark", clock-1))
		got := s.record("mark").Clock
		s.require(got == clock, "after a sweep of the clock %d a watermark of %d has %d", clock, clock-1, got)
		s.fill(sweeping("mark", s.record("mark").Nonce))
		s.put(marking("mark", clock+1))
		got = s.record("mark").Clock
		s.require(got == clock+1, "after a sweep of the clock %d a watermark of %d has %d", clock, clock+1, got)
	}
}

// sweptThenMade is a watermark that is made by a load which read the clock before a later
// watermark was written and swept.
func sweptThenMade(s *scene) {
	if s.sweeper() == nil {
		return
	}
	s.sweep(20)
	token := s.acquire("mark")
	s.fill(filling("mark", marked(10), token))
	got := s.record("mark").Clock
	s.require(got == 20, "after a sweep of the clock 20 a watermark that is made has %d", got)

	token = s.acquire("clock")
	s.fill(filling("clock", watermark(), token))
	got = s.record("clock").Clock
	s.require(got == 0, "a watermark without a clock got %d", got)
}

func sweptCountsForWatermarks(s *scene) {
	if s.sweeper() == nil {
		return
	}
	s.sweep(20)
	for _, r := range []driver.Record{value("value"), tombstone()} {
		r.Clock = 10
		s.put(write("mark", r))
		got := s.record("mark").Clock
		s.require(got == 10, "a record of kind %d took over the clock %d", r.Kind, got)
	}
}

func raisedIsNotSwept(s *scene) {
	if s.sweeper() == nil {
		return
	}
	s.put(marking("raised", 20))
	old := s.record("raised")
	s.put(marking("raised", 21))
	r := s.tryFill(sweeping("raised", old.Nonce))
	s.fails(r.Err, driver.ErrLeaseLost, "a sweep of a watermark that was raised")
	got := s.record("raised")
	s.require(got.Kind == driver.KindWatermark && got.Clock == 21, "a watermark that was raised to 21 is of kind %d and %d", got.Kind, got.Clock)
}

// sweepsRace requires that whatever is found is no lower than what was confirmed before.
func sweepsRace(s *scene) {
	if s.sweeper() == nil {
		return
	}
	const writers, writes = 4, 20
	s.together(writers+2, func(i int) error {
		for n := range writes {
			if i >= writers {
				s.sweepOnce()
			} else {
				s.raiseTo(uint64(n*writers + i + 1))
			}
		}
		return nil
	})
	s.put(marking("mark", 1))
	s.fill(sweeping("mark", s.record("mark").Nonce))
	s.put(marking("mark", 1))
	got := s.record("mark").Clock
	s.require(got == writers*writes, "the clock is %d, the highest written was %d", got, writers*writes)
}

// sweepOnce sweeps the watermark mark, if it is there and stays as it was read.
func (s *scene) sweepOnce() {
	image := s.image("mark")
	if image == nil {
		return
	}
	r, err := driver.DecodeRecord(image)
	s.noError(err, "decode")
	if got := s.tryFill(sweeping("mark", r.Nonce)); !errors.Is(got.Err, driver.ErrLeaseLost) {
		s.noError(got.Err, "a sweep")
	}
}

// raiseTo raises the watermark mark, and requires that what is found then is no lower.
func (s *scene) raiseTo(clock uint64) {
	s.put(marking("mark", clock))
	if r := s.record("mark"); r.Kind == driver.KindWatermark {
		s.require(r.Clock >= clock, "after a watermark with clock %d the clock is %d", clock, r.Clock)
	}
}
