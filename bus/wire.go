package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Layout of a message, all numbers big endian. A string is its length as
// uvarint, then its bytes.
//
//	 0  1  0xF8, which never occurs in UTF-8
//	 1  1  format version, 1
//	 2  1  type: 1 invalidations, 2 heartbeat, 3 goodbye, 129 barrier,
//	       130 arrivals, 131 question for settings, 132 settings, 133 roll call
//	 3  1  flags: bit 0 says that an extension follows the node
//	 4  8  incarnation
//	12  8  sequence: of this message, or for the others of the latest message
//	       sent before it; 0 in a message that a store announces
//	20     node, a string
//	       extension, a string; see extension.go
//
// A heartbeat goes on with 8 bytes that only its sender understands: when it
// was sent, on the sender's own clock. Bit 0 of the first byte of its extension says
// that the sender does not listen. A goodbye, the last message of an incarnation, ends
// here.
//
// A barrier goes on with 8 bytes, the number that its sender gave it, and the
// incarnations of those who are asked: their number as uvarint, 8 bytes each;
// none means everybody. Arrivals answer barriers: their number as uvarint, then
// for each the incarnation of the process that asked and the number it gave, 8
// bytes each.
//
// A question for settings goes on with the incarnations of those who are asked, as in
// a barrier; none means nobody. Settings go on with the digest of the sender's options, 8
// bytes, and the number of settings that follow as uvarint: each is three strings, cache,
// option and value; an empty cache is that of the setting before.
//
// A roll call asks who is there. It goes on with 8 bytes, the number that its sender gave it,
// and the incarnations of those who need not answer: their number as uvarint, 8 bytes each.
// The others answer with a heartbeat.
//
// Invalidations go on with their number as uvarint, then for each
//
//	 0  1  op
//	 1  8  revision: epoch
//	 9  8  revision: number
//	17     cache, a string; the empty one is that of the invalidation before
//	       key, a string; for a tag the tag, empty for clear
//
// The first three bytes keep their meaning in all versions, so that a heartbeat
// of a newer version is known to carry no news. Nor do types from 128 on, whatever
// a newer version may use them for.
const (
	magic   = 0xF8
	version = 1

	typeInvalidations = 1
	typeHeartbeat     = 2
	typeGoodbye       = 3

	typeQuiet    = 128 // types from here on carry no news
	typeBarrier  = 129
	typeArrivals = 130
	typeAsking   = 131
	typeSettings = 132
	typeRollCall = 133

	flagExtension = 1

	maxNodeSize  = 64
	maxCacheSize = 255
	maxKeySize   = 1024
	maxTagSize   = 256

	maxSettingSize = 255 // of the name of an option, and of its value

	lastOp     = OpTag
	maxPayload = 64 << 10

	fixedHeaderSize = 20
	minItemSize     = 1 + 16 + 1 + 1

	// frameSize is the most that comes before the first invalidation: the
	// header, the node and the number of invalidations.
	frameSize = fixedHeaderSize + 1 + maxNodeSize + 3
)

func (i *Invalidation) check() error {
	switch {
	case i.Op < OpSet || i.Op > lastOp:
		return fmt.Errorf("%w: unknown operation %d", ErrInvalid, i.Op)
	case i.Cache == "" || len(i.Cache) > maxCacheSize:
		return fmt.Errorf("%w: cache name of %d bytes", ErrInvalid, len(i.Cache))
	case (i.Key == "") != (i.Op == OpClear) || len(i.Key) > maxKeySize:
		return fmt.Errorf("%w: key of %d bytes", ErrInvalid, len(i.Key))
	case i.Op == OpTag && len(i.Key) > maxTagSize:
		return fmt.Errorf("%w: tag of %d bytes", ErrInvalid, len(i.Key))
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendHeader(dst []byte, kind byte, node string, incarnation, sequence uint64) []byte {
	dst = append(dst, magic, version, kind, 0)
	dst = binary.BigEndian.AppendUint64(dst, incarnation)
	dst = binary.BigEndian.AppendUint64(dst, sequence)
	return appendString(dst, node)
}

// appendItem appends inv. The invalidation before it, if any, is of cache
// previous.
func appendItem(dst []byte, inv *Invalidation, previous string) []byte {
	dst = append(dst, byte(inv.Op))
	dst = binary.BigEndian.AppendUint64(dst, inv.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, inv.Revision)
	if inv.Cache == previous {
		dst = append(dst, 0)
	} else {
		dst = appendString(dst, inv.Cache)
	}
	return appendString(dst, inv.Key)
}

// appendStart is appendHeader with an extension, if it is not empty.
func appendStart(dst []byte, kind byte, node string, incarnation, sequence uint64, e *extension) []byte {
	start := len(dst)
	dst = appendHeader(dst, kind, node, incarnation, sequence)
	if !e.empty() {
		dst[start+3] |= flagExtension
		dst = e.append(dst)
	}
	return dst
}

func appendHeartbeat(dst []byte, node string, incarnation, sequence uint64, sent int64, e *extension) []byte {
	dst = appendStart(dst, typeHeartbeat, node, incarnation, sequence, e)
	return binary.BigEndian.AppendUint64(dst, uint64(sent))
}

func encodeBarrier(node string, incarnation, sequence, number uint64, asked []uint64, e *extension) []byte {
	dst := appendStart(nil, typeBarrier, node, incarnation, sequence, e)
	dst = binary.BigEndian.AppendUint64(dst, number)
	dst = binary.AppendUvarint(dst, uint64(len(asked)))
	for _, id := range asked {
		dst = binary.BigEndian.AppendUint64(dst, id)
	}
	return dst
}

func encodeArrivals(node string, incarnation, sequence uint64, calls []BarrierRequest) []byte {
	dst := appendHeader(nil, typeArrivals, node, incarnation, sequence)
	dst = binary.AppendUvarint(dst, uint64(len(calls)))
	for _, c := range calls {
		dst = binary.BigEndian.AppendUint64(dst, c.incarnation)
		dst = binary.BigEndian.AppendUint64(dst, c.number)
	}
	return dst
}

func appendGoodbye(dst []byte, node string, incarnation, sequence uint64) []byte {
	return appendHeader(dst, typeGoodbye, node, incarnation, sequence)
}

// frame is a decoded message. The strings in it share one piece of memory.
type frame struct {
	message   Message
	kind      byte
	heartbeat bool // it carries no news, and its sequence is that of the latest message before it

	sent  int64            // of a heartbeat
	call  uint64           // of a barrier or a roll call: its number
	asked []uint64         // of a barrier: the incarnations that are asked; none means all. Likewise of a question for settings; of a roll call those that are not
	calls []BarrierRequest // of arrivals

	extension extension // of a heartbeat or a barrier
	digest    uint64    // of settings
	settings  []Setting // likewise
}

// decode decodes payload into f, whose slice it uses again. The error is
// errNewer for a newer format and errDamaged for any other fault; f then
// holds what could be read, which of a damaged message is nothing.
func (f *frame) decode(payload []byte) error {
	err := f.read(payload)
	if errors.Is(err, errDamaged) {
		f.reset()
	}
	return err
}

func (f *frame) reset() {
	*f = frame{message: Message{Invalidations: f.message.Invalidations[:0]}, asked: f.asked[:0], calls: f.calls[:0], settings: f.settings[:0]}
}

func (f *frame) read(payload []byte) error {
	f.reset()
	if len(payload) == 0 || payload[0] != magic {
		return errForeign
	}
	if len(payload) > maxPayload || len(payload) < 3 {
		return errDamaged
	}
	f.kind = payload[2]
	f.heartbeat = f.kind == typeHeartbeat || f.kind == typeGoodbye || f.kind >= typeQuiet
	known := f.kind <= typeGoodbye || f.kind >= typeBarrier && f.kind <= typeRollCall
	if payload[1] > version || !known {
		return errNewer
	}
	if payload[1] != version || payload[2] == 0 {
		return errDamaged
	}
	r := reader{data: payload, text: string(payload), at: 3}
	return f.readBody(&r)
}

func (f *frame) readBody(r *reader) error {
	flags := r.byte()
	f.message.Incarnation = r.uint64()
	f.message.Sequence = r.uint64()
	f.message.Node = r.string(maxNodeSize)
	if flags&flagExtension != 0 {
		f.extension.read(f.kind, r.string(maxPayload))
	}
	if flags&^flagExtension != 0 {
		return errNewer
	}
	switch f.kind {
	case typeHeartbeat:
		f.sent = int64(r.uint64())
	case typeGoodbye:
	case typeBarrier, typeRollCall:
		f.call = r.uint64()
		f.readAsked(r)
	case typeAsking:
		f.readAsked(r)
	case typeSettings:
		f.readSettings(r)
	case typeArrivals:
		for range r.uvarint(len(r.data) / 16) {
			f.calls = append(f.calls, BarrierRequest{incarnation: r.uint64(), number: r.uint64()})
		}
	default:
		return f.readItems(r)
	}
	return r.end()
}

func (f *frame) readAsked(r *reader) {
	for range r.uvarint(len(r.data) / 8) {
		f.asked = append(f.asked, r.uint64())
	}
}

func (f *frame) readItems(r *reader) error {
	count := r.uvarint(len(r.data))
	skipped, cache := false, ""
	for range count {
		inv := Invalidation{Op: Op(r.byte()), Epoch: r.uint64(), Revision: r.uint64()}
		if name := r.string(maxCacheSize); name != "" {
			cache = name
		}
		inv.Cache, inv.Key = cache, r.string(maxKeySize)
		switch { // what is not there reads as an invalid one and ends the loop
		case inv.Op > lastOp:
			skipped = true
		case inv.check() != nil:
			return errDamaged
		default:
			f.message.Invalidations = append(f.message.Invalidations, inv)
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	if skipped {
		return errNewer
	}
	return nil
}

// reader reads the parts of a message. After a fault it returns zero values,
// and end an error.
type reader struct {
	data   []byte
	text   string // the same bytes, for strings to be cut from
	at     int
	faulty bool
}

// take moves on by n bytes and returns where they begin.
func (r *reader) take(n int) (start int, ok bool) {
	if r.faulty || n > len(r.data)-r.at {
		r.faulty = true
		return 0, false
	}
	start = r.at
	r.at += n
	return start, true
}

func (r *reader) byte() byte {
	start, ok := r.take(1)
	if !ok {
		return 0
	}
	return r.data[start]
}

func (r *reader) uint64() uint64 {
	start, ok := r.take(8)
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(r.data[start:])
}

// uvarint reads a number of at most limit.
func (r *reader) uvarint(limit int) int {
	n, size := binary.Uvarint(r.data[min(r.at, len(r.data)):])
	if size <= 0 || n > math.MaxInt32 || int(n) > limit {
		r.faulty = true
		return 0
	}
	r.take(size)
	return int(n)
}

// string reads a string of at most limit bytes.
func (r *reader) string(limit int) string {
	n := r.uvarint(limit)
	start, ok := r.take(n)
	if !ok {
		return ""
	}
	return r.text[start : start+n]
}

func (r *reader) end() error {
	if r.faulty || r.at != len(r.data) {
		return errDamaged
	}
	return nil
}
