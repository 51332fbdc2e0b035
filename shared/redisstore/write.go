package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

// What write.lua is to do.
const (
	modeWrite byte = iota
	modeKeep
	modeRoom
	modeFill
	modeTold
)

// Write implements [driver.Store].
func (s *Store) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.write(ctx, writes, false)
}

// Fill implements [driver.Store].
func (s *Store) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.write(ctx, writes, true)
}

func (s *Store) write(ctx context.Context, writes []driver.Write, fill bool) []driver.Receipt {
	if len(writes) == 1 {
		return []driver.Receipt{s.step(ctx, s.writeStep(&writes[0], fill)).Receipt}
	}
	steps, receipts := make([]step, len(writes)), make([]driver.Receipt, len(writes))
	for i := range writes {
		steps[i] = s.writeStep(&writes[i], fill)
	}
	for i, a := range s.stepMany(ctx, steps) {
		receipts[i] = a.Receipt
	}
	return receipts
}

func (st *step) mode() byte {
	switch {
	case st.fill && st.write.Journal:
		return modeTold
	case st.fill:
		return modeFill
	case st.room:
		return modeRoom
	case st.write.KeepStale:
		return modeKeep
	default:
		return modeWrite
	}
}

// writeCmd returns the call of the script for a write, by the name of the script or
// with the whole of it. It is put together here and not by [redis.Script],
// which copies the arguments twice.
func (s *Store) writeCmd(ctx context.Context, st *step, whole bool) *redis.Cmd {
	w := st.write
	p := &s.partitions[s.Partition(w.Key)]
	keys, beside, image := 3, any(nil), w.Image
	if st.stage != "" {
		keys, beside, image = 4, st.stage, image[:driver.HeaderSize]
	}
	if sweeps(w) {
		keys, beside = 4, p.swept
	}
	args := s.writeScripts(ctx, p, whole).one.begin(make([]any, 0, 14), whole, keys)
	args = append(args, p.prefix+w.Key, p.metadata, p.journal)
	if beside != nil {
		args = append(args, beside)
	}
	args = append(args, image, millis(w.TTL), st.appendNumbers(make([]byte, 0, writeNumbers)), s.length)
	if a := w.Announce; a != nil {
		args = append(args, a.Channel, a.Payload[:a.RevisionAt], a.Payload[a.RevisionAt+revisionSize:])
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// writeMany returns the call of the script for several writes of a partition, all of which
// are announced on one channel or none is.
func (s *Store) writeMany(ctx context.Context, p *partition, steps []*step, whole bool) *redis.Cmd {
	args := s.writeScripts(ctx, p, whole).many.begin(make([]any, 0, 8+4*len(steps)), whole, 2+len(steps))
	args = append(args, p.metadata, p.journal)
	names := p.names(steps)
	for i := range names {
		args = append(args, &names[i])
	}
	numbers := make([]byte, 0, len(steps)*(writeNumbers+8))
	for _, st := range steps {
		numbers = st.appendNumbers(numbers)
		numbers = binary.BigEndian.AppendUint64(numbers, millis(st.write.TTL))
	}
	args = append(args, s.length, steps[0].channel(), numbers)
	for _, st := range steps {
		args = append(args, st.write.Image)
		if a := st.write.Announce; a != nil {
			args = append(args, a.Payload[:a.RevisionAt], a.Payload[a.RevisionAt+revisionSize:])
		}
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// writeNumbers is the length of the numbers of a write.
const writeNumbers = 49

// appendNumbers appends the numbers of a write as the script has them.
func (st *step) appendNumbers(to []byte) []byte {
	w := st.write
	to = binary.BigEndian.AppendUint64(to, micros(w.NotAfter))
	to = binary.BigEndian.AppendUint64(to, w.Floor)
	to = binary.BigEndian.AppendUint64(to, millis(w.Soft))
	to = binary.BigEndian.AppendUint64(to, w.Born.Number)
	to = binary.BigEndian.AppendUint64(to, w.Born.Epoch)
	to = binary.BigEndian.AppendUint64(to, w.Expect)
	return append(to, st.mode())
}

// sweeps reports whether w may take a watermark away, or put one where one was.
func sweeps(w *driver.Write) bool {
	switch driver.Kind(w.Image[driver.KindOffset]) {
	case driver.KindWatermark:
		return true
	case driver.KindTombstone:
		return w.Expect != 0
	}
	return false
}

// revisionSize is the length of a revision in an announcement.
const revisionSize = 16

// millis rounds up, so that what is to live does.
func millis(d time.Duration) uint64 { return uint64((d + time.Millisecond - 1) / time.Millisecond) }

func micros(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMicro())
}

var errAnswer = errors.New("unexpected answer of the script")

// receipt reads the answer of write.lua.
func receipt(ctx context.Context, value any, err error) driver.Receipt {
	answer, ok := value.(string)
	if err == nil && !ok {
		err = errAnswer
	}
	if err != nil {
		return driver.Receipt{Err: failed(ctx, "write", err)}
	}
	switch {
	case len(answer) == 32:
		return driver.Receipt{
			Revision: driver.Revision{Epoch: number(answer, 0), Number: number(answer, 8)},
			Now:      time.UnixMicro(int64(number(answer, 16))), Entry: number(answer, 24),
		}
	case len(answer) == 9 && answer[8] == '1':
		return driver.Receipt{Err: driver.ErrTooLate, Now: time.UnixMicro(int64(number(answer, 0)))}
	case len(answer) == 9 && answer[8] == '2':
		return driver.Receipt{Err: driver.ErrLeaseLost, Now: time.UnixMicro(int64(number(answer, 0)))}
	case len(answer) == 9 && answer[8] == '3':
		return driver.Receipt{Err: failed(ctx, "write", errNotStaged)}
	case len(answer) == 9 && answer[8] == '4':
		return driver.Receipt{Err: failed(ctx, "write", errNoRename)}
	}
	return driver.Receipt{Err: failed(ctx, "write", errAnswer)}
}

// number reads the 8 bytes at a place of an answer.
func number(answer string, at int) (n uint64) {
	for i := range 8 {
		n = n<<8 | uint64(answer[at+i])
	}
	return n
}
