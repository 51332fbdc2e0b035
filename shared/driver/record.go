package driver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Layout of a record, all numbers big endian. A store stamps the fields that
// only it can know; see [Stamp].
//
//	 0  2  magic "nb"
//	 2  1  format version, 1
//	 3  1  kind
//	 4  1  codec
//	 5  1  flags: bits 0 and 1 say how the value is compressed, bit 2 that the
//	       extension begins with fields; others are 0
//	 6  2  length of the extension: 0, or that of the fields + 12 + 4 for each tag slot
//	 8  8  revision: epoch                  stamped by the store
//	16  8  revision: number                 stamped by the store
//	24  8  soft expiry, Unix milliseconds   stamped by the store; 0: none
//	32  8  hard expiry, Unix milliseconds   stamped by the store; 0: none
//	40  8  nonce: write id or lease token
//	48  8  clock of the cache that wrote it
//	56  4  length of the value
//	60  4  CRC-32C of extension and value
//	64     extension, then value
//
// The extension is there when one of its fields is not zero:
//
//	 0  4  schema of the value's type
//	 4  8  tag clock of the cache that wrote it
//	12  4  tag slot; as many as there are
//
// With bit 2 of the flags, fields come before that, see fields.go.
const (
	// HeaderSize is the length of a record without its extension and value.
	HeaderSize = 64

	// MaxSlots is the largest number of tag slots of a record.
	MaxSlots = 64

	// RecordVersion is the format version that this package writes.
	RecordVersion = 1

	// Offsets of the fields that drivers read or stamp.
	KindOffset  = 3
	StampOffset = 8  // epoch, number, soft expiry, hard expiry: 32 bytes
	NonceOffset = 40 // 8 bytes
	ClockOffset = 48 // 8 bytes
)

// TombstoneReleased is the Codec of a tombstone that is there because a lease
// was given back, and not because the key was deleted.
const TombstoneReleased = 1

// TombstoneFailed is the Codec of a tombstone in the place of a lease that was
// given back because the load failed.
const TombstoneFailed = 2

const (
	recordMagic = "nb"
	flagsOffset = 5

	extensionSize = 12 // without tag slots
	slotSize      = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kind says what a record stands for.
type Kind uint8

// The kinds of record.
const (
	KindValue     Kind = 1 // a value
	KindTombstone Kind = 2 // deleted a moment ago; reads as absent
	KindLease     Kind = 3 // somebody loads the value; reads as absent
	KindWatermark Kind = 4 // revision number is the clock of a cache
	KindNotFound  Kind = 5 // the source has no value; lives like a value, and is empty
	KindStale     Kind = 6 // an invalidated value, kept for when there is no other; reads as absent
)

// Revision orders the writes of one key. Numbers compare only within one
// epoch, and epoch 0 means that the store cannot order its writes across its
// own restarts.
type Revision struct {
	Epoch  uint64
	Number uint64
}

// MaxRevision is what the numbers of revisions are below: as times in microseconds they
// reach the year 2255. A store and its readers take a number from here on for none.
const MaxRevision = 9_000_000_000_000_000

// Covers reports whether a value of revision r already contains the write o:
// it is that write, or a later one of the same epoch.
func (r Revision) Covers(o Revision) bool {
	if r.Number == 0 || o.Number == 0 || r.Epoch != o.Epoch {
		return false
	}
	return r.Number == o.Number || r.Epoch != 0 && r.Number > o.Number
}

// Record is what a store holds under a key.
type Record struct {
	Kind  Kind
	Codec uint8 // as in Codec.ID
	// Compression says how Value is compressed: CompressionNone, or as in
	// Compressor.ID. A Tier gives and takes values that are not.
	Compression uint8
	Revision    Revision // given by the store
	Soft        int64    // Unix milliseconds of the server's clock; 0: none
	Hard        int64    // likewise; past it the record reads as absent
	Nonce       uint64   // write id, or token of the lease
	Clock       uint64   // clock of the cache when the write or load began
	Schema      uint32   // version of the value's type; 0: none
	TagClock    uint64   // tag clock of the cache when the write or load began
	Slots       []uint32 // of the value's tags; at most MaxSlots
	Value       []byte

	// NearTTL is how long readers may serve the value from memory, if its writer
	// decided that; 0 leaves it to them. It is stored in milliseconds, rounded up,
	// and is no longer than MaxDuration.
	NearTTL time.Duration

	// Ahead is how long before its end the value is to be refreshed at the earliest, if
	// it lives too short for what readers do otherwise; 0 leaves it to them. It is
	// stored as NearTTL is.
	Ahead time.Duration
}

// Extension returns the length of the extension of r.
func (r *Record) Extension() int { return r.fieldsSize() + r.tagsSize() }

// tagsSize returns the length of the part of the extension that has a fixed layout.
func (r *Record) tagsSize() int {
	if r.Schema == 0 && r.TagClock == 0 && len(r.Slots) == 0 {
		return 0
	}
	return extensionSize + slotSize*len(r.Slots)
}

// Size returns the length of the encoded record.
func (r *Record) Size() int { return HeaderSize + r.Extension() + len(r.Value) }

// Append appends the encoded record to dst and returns it. The fields that the
// store stamps are encoded as they are in r. Slots beyond MaxSlots are the
// caller's error: the record cannot be decoded.
func (r *Record) Append(dst []byte) []byte {
	flags := r.Compression & compressionMask
	if r.fieldsSize() > 0 {
		flags |= fieldsFlag
	}
	dst = append(dst, recordMagic...)
	dst = append(dst, RecordVersion, byte(r.Kind), r.Codec, flags)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Extension()))
	dst = binary.BigEndian.AppendUint64(dst, r.Revision.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, r.Revision.Number)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Soft))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Hard))
	dst = binary.BigEndian.AppendUint64(dst, r.Nonce)
	dst = binary.BigEndian.AppendUint64(dst, r.Clock)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Value)))
	dst = append(dst, 0, 0, 0, 0) // checksum, below
	body := len(dst)
	dst = r.appendFields(dst)
	if r.tagsSize() > 0 {
		dst = binary.BigEndian.AppendUint32(dst, r.Schema)
		dst = binary.BigEndian.AppendUint64(dst, r.TagClock)
		for _, slot := range r.Slots {
			dst = binary.BigEndian.AppendUint32(dst, slot)
		}
	}
	dst = append(dst, r.Value...)
	binary.BigEndian.PutUint32(dst[body-4:], crc32.Checksum(dst[body:], castagnoli))
	return dst
}

// DecodeRecord decodes data. The Value of the record is a part of data. The
// error is [ErrNewerFormat] or wraps [ErrCorrupt].
func DecodeRecord(data []byte) (Record, error) {
	r, err := DecodeHeader(data)
	if err != nil {
		return Record{}, err
	}
	if data[flagsOffset]&^(compressionMask|fieldsFlag) != 0 {
		return Record{}, ErrNewerFormat
	}
	body := data[HeaderSize:]
	extension := int(binary.BigEndian.Uint16(data[6:]))
	if n := binary.BigEndian.Uint32(data[56:]); uint64(extension)+uint64(n) != uint64(len(body)) {
		return Record{}, fmt.Errorf("%w: %d bytes of %d", ErrCorrupt, len(body), uint64(extension)+uint64(n))
	}
	if binary.BigEndian.Uint32(data[60:]) != crc32.Checksum(body, castagnoli) {
		return Record{}, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	tags := body[:extension]
	if data[flagsOffset]&fieldsFlag != 0 {
		if tags, err = r.decodeFields(tags); err != nil {
			return Record{}, err
		}
	}
	if len(tags) > 0 {
		if err := r.decodeTags(tags); err != nil {
			return Record{}, err
		}
	}
	r.Value = body[extension:]
	return r, nil
}

// decodeTags decodes data, the part of the extension that has a fixed layout. That it
// is not as this version writes it means that another did.
func (r *Record) decodeTags(data []byte) error {
	slots := (len(data) - extensionSize) / slotSize
	if len(data) < extensionSize || len(data)%slotSize != 0 || slots > MaxSlots {
		return ErrNewerFormat
	}
	r.Schema = binary.BigEndian.Uint32(data)
	r.TagClock = binary.BigEndian.Uint64(data[4:])
	if slots > 0 {
		r.Slots = make([]uint32, slots)
		for i := range r.Slots {
			r.Slots[i] = binary.BigEndian.Uint32(data[extensionSize+slotSize*i:])
		}
	}
	if r.tagsSize() == 0 {
		return fmt.Errorf("%w: empty extension", ErrCorrupt)
	}
	return nil
}

// DecodeHeader decodes the header alone, without a look at extension and value. It is
// for drivers; its errors are those of [DecodeRecord].
func DecodeHeader(data []byte) (Record, error) {
	if len(data) < HeaderSize || string(data[:2]) != recordMagic {
		return Record{}, fmt.Errorf("%w: not a record", ErrCorrupt)
	}
	if data[2] > RecordVersion {
		return Record{}, ErrNewerFormat
	}
	r := Record{
		Kind:        Kind(data[KindOffset]),
		Codec:       data[4],
		Compression: data[flagsOffset] & compressionMask,
		Revision: Revision{
			Epoch:  binary.BigEndian.Uint64(data[StampOffset:]),
			Number: binary.BigEndian.Uint64(data[StampOffset+8:]),
		},
		Soft:  int64(binary.BigEndian.Uint64(data[StampOffset+16:])),
		Hard:  int64(binary.BigEndian.Uint64(data[StampOffset+24:])),
		Nonce: binary.BigEndian.Uint64(data[NonceOffset:]),
		Clock: binary.BigEndian.Uint64(data[ClockOffset:]),
	}
	if data[2] == 0 || r.Kind < KindValue || r.Kind > KindStale {
		return Record{}, fmt.Errorf("%w: version %d, kind %d", ErrCorrupt, data[2], r.Kind)
	}
	return r, nil
}

// Stamp writes the fields that a store decides into the encoded record image:
// the revision, and the expiries soft and hard after now (0: none). It is for
// drivers whose server cannot do it.
func Stamp(image []byte, rev Revision, now time.Time, soft, hard time.Duration) {
	StampRevision(image, rev)
	binary.BigEndian.PutUint64(image[StampOffset+16:], expiry(now, soft))
	binary.BigEndian.PutUint64(image[StampOffset+24:], expiry(now, hard))
}

// StampStale returns the record old as image, a write with [Write.KeepStale],
// is to leave it: of [KindStale], with the nonce of image and revision rev, and
// otherwise as it was. It reports false if there is no value in old to keep. It
// is for drivers whose server cannot do it.
func StampStale(old, image []byte, rev Revision) ([]byte, bool) {
	r, err := DecodeHeader(old)
	if err != nil || r.Kind != KindValue && r.Kind != KindStale {
		return nil, false
	}
	kept := bytes.Clone(old)
	kept[KindOffset] = byte(KindStale)
	StampRevision(kept, rev)
	copy(kept[NonceOffset:ClockOffset], image[NonceOffset:ClockOffset])
	return kept, true
}

// StampRevision writes rev alone into the encoded record image.
func StampRevision(image []byte, rev Revision) {
	binary.BigEndian.PutUint64(image[StampOffset:], rev.Epoch)
	binary.BigEndian.PutUint64(image[StampOffset+8:], rev.Number)
}

func expiry(now time.Time, after time.Duration) uint64 {
	if after <= 0 {
		return 0
	}
	return uint64(now.Add(after).UnixMilli())
}

// KeepClock gives image, the encoded record that is to replace old, the clock of
// old if both are watermarks and that is higher. It is for drivers whose server
// cannot do it.
func KeepClock(image, old []byte) {
	if Kind(image[KindOffset]) != KindWatermark {
		return
	}
	header, err := DecodeHeader(old)
	if err != nil || header.Kind != KindWatermark {
		return
	}
	clock := max(header.Clock, binary.BigEndian.Uint64(image[ClockOffset:]))
	binary.BigEndian.PutUint64(image[ClockOffset:], clock)
}

// RaiseClock gives image, an encoded record that is to be put where no watermark is, the
// clock swept at least if it is a watermark with a clock. It is for drivers whose server
// cannot do it: see [Sweeper].
func RaiseClock(image []byte, swept uint64) {
	clock := binary.BigEndian.Uint64(image[ClockOffset:])
	if Kind(image[KindOffset]) == KindWatermark && clock > 0 {
		binary.BigEndian.PutUint64(image[ClockOffset:], max(clock, swept))
	}
}
