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
	modeWrite = ""
	modeKeep  = "keep"
	modeRoom  = "room"
	modeFill  = "fill"
	modeTold  = "told"
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

func (st step) mode() string {
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

// writeCmd returns the call of write.lua for a write, by the name of the script or
// with the whole of it. It is put together here and not by [redis.Script],
// which copies the arguments twice.
func (s *Store) writeCmd(ctx context.Context, st step, whole bool) *redis.Cmd {
	w := st.write
	p := &s.partitions[s.Partition(w.Key)]
	args := append(make([]any, 0, 17), "evalsha", s.writeScript(ctx, p, whole).Hash(), 3, p.prefix+w.Key, p.metadata, p.journal)
	if whole {
		args[0], args[1] = "eval", wholeWrite
	}
	image := w.Image
	if st.stage != "" {
		args[2], args, image = 4, append(args, st.stage), image[:driver.HeaderSize]
	}
	if sweeps(w) {
		args[2], args = 4, append(args, p.swept)
	}
	numbers := make([]byte, 0, 48+len(w.Key))
	numbers = binary.BigEndian.AppendUint64(numbers, micros(w.NotAfter))
	numbers = binary.BigEndian.AppendUint64(numbers, w.Floor)
	numbers = binary.BigEndian.AppendUint64(numbers, millis(w.Soft))
	numbers = binary.BigEndian.AppendUint64(numbers, w.Born.Number)
	numbers = binary.BigEndian.AppendUint64(numbers, w.Born.Epoch)
	entry := append(numbers, w.Image[driver.NonceOffset:driver.ClockOffset]...)
	entry = append(entry, w.Key...)
	args = append(args, image, millis(w.TTL), numbers, entry[len(numbers):], st.mode())
	if w.Expect != 0 {
		args = append(args, word(w.Expect))
	} else {
		args = append(args, "")
	}
	args = append(args, s.length)
	if a := w.Announce; a != nil {
		args = append(args, a.Channel, a.Payload[:a.RevisionAt], a.Payload[a.RevisionAt+revisionSize:])
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
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
func receipt(ctx context.Context, cmd *redis.Cmd) driver.Receipt {
	text, err := cmd.Text()
	if err != nil {
		return driver.Receipt{Err: failed(ctx, "write", err)}
	}
	answer := []byte(text)
	number := func(at int) uint64 { return binary.BigEndian.Uint64(answer[at:]) }
	switch {
	case len(answer) == 32:
		return driver.Receipt{
			Revision: driver.Revision{Epoch: number(0), Number: number(8)}, Now: time.UnixMicro(int64(number(16))), Entry: number(24),
		}
	case len(answer) == 9 && answer[8] == '1':
		return driver.Receipt{Err: driver.ErrTooLate, Now: time.UnixMicro(int64(number(0)))}
	case len(answer) == 9 && answer[8] == '2':
		return driver.Receipt{Err: driver.ErrLeaseLost, Now: time.UnixMicro(int64(number(0)))}
	case len(answer) == 9 && answer[8] == '3':
		return driver.Receipt{Err: failed(ctx, "write", errNotStaged)}
	case len(answer) == 9 && answer[8] == '4':
		return driver.Receipt{Err: failed(ctx, "write", errNoRename)}
	}
	return driver.Receipt{Err: failed(ctx, "write", errAnswer)}
}
