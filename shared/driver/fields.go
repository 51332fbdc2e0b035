package driver

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Fields are what few records have. They begin the extension of a record whose flags
// have bit 2, all numbers big endian:
//
//	0  2  length of the fields that follow
//
// and for each, in the order of their ids, none twice:
//
//	0  1  id
//	1  2  length of its content
//	3     content
//
// Who does not know a field below 128 skips it. With a field from 128 on, a record is of
// a newer format to who does not know it. A record without fields has no such flag, so a
// version that knows of no fields reads it; to that version, one with fields is of a newer
// format.
const (
	fieldsFlag = 1 << 2

	fieldsSize = 2 // of their length
	fieldSize  = 3 // of an id and a length

	// vitalField is the least id of the fields that a reader must know.
	vitalField = 128
)

// The fields.
const (
	nearTTLField = 1 // Record.NearTTL, in milliseconds: 8 bytes
	aheadField   = 2 // Record.Ahead, likewise
)

const durationSize = 8

// fieldsSize returns the length of the fields of r, 0 if it has none.
func (r *Record) fieldsSize() int {
	size := 0
	for _, d := range [...]time.Duration{r.NearTTL, r.Ahead} {
		if d > 0 {
			size += fieldSize + durationSize
		}
	}
	if size > 0 {
		size += fieldsSize
	}
	return size
}

// appendFields appends the fields of r to dst.
func (r *Record) appendFields(dst []byte) []byte {
	size := r.fieldsSize()
	if size == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(size-fieldsSize))
	dst = appendDuration(dst, nearTTLField, r.NearTTL)
	return appendDuration(dst, aheadField, r.Ahead)
}

func appendDuration(dst []byte, id uint8, d time.Duration) []byte {
	if d <= 0 {
		return dst
	}
	dst = append(dst, id)
	dst = binary.BigEndian.AppendUint16(dst, durationSize)
	return binary.BigEndian.AppendUint64(dst, uint64((d+time.Millisecond-1)/time.Millisecond))
}

// decodeFields decodes the fields at the beginning of data, an extension that is whole,
// and returns the rest of it.
func (r *Record) decodeFields(data []byte) (rest []byte, err error) {
	if len(data) < fieldsSize {
		return nil, errFields
	}
	size := int(binary.BigEndian.Uint16(data))
	if data = data[fieldsSize:]; size == 0 || size > len(data) {
		return nil, errFields
	}
	fields, rest := data[:size], data[size:]
	for last := -1; len(fields) > 0; {
		if len(fields) < fieldSize {
			return nil, errFields
		}
		id, n := int(fields[0]), int(binary.BigEndian.Uint16(fields[1:]))
		if fields = fields[fieldSize:]; id <= last || n > len(fields) {
			return nil, errFields
		}
		if err := r.decodeField(id, fields[:n]); err != nil {
			return nil, err
		}
		last, fields = id, fields[n:]
	}
	return rest, nil
}

func (r *Record) decodeField(id int, content []byte) (err error) {
	switch {
	case id == nearTTLField:
		r.NearTTL, err = decodeDuration(content)
	case id == aheadField:
		r.Ahead, err = decodeDuration(content)
	case id >= vitalField:
		err = ErrNewerFormat
	}
	return err
}

func decodeDuration(content []byte) (time.Duration, error) {
	if len(content) != durationSize {
		return 0, errFields
	}
	ms := binary.BigEndian.Uint64(content)
	if ms == 0 || ms > uint64(MaxDuration/time.Millisecond) {
		return 0, errFields
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// errFields is the error of a record whose fields no version writes.
var errFields = fmt.Errorf("%w: fields", ErrCorrupt)
