package bus

import (
	"encoding/binary"
	"math"
	"time"
)

// The extension of a message begins with a byte of flags, then come fields: each is
// its number, 1 byte, its length as uvarint, and as many bytes. A reader skips fields
// that it does not know, and of one that is longer than it knows the rest; one that is
// too short, and all fields if they do not end with the extension, count as not there.
//
//	1  heartbeat  1 byte: protocol version of the sender; without it, 0
//	2  heartbeat  8 bytes: identity of the shared tier
//	3  heartbeat  8 bytes: hash of the namespace of the shared tier
//	4  heartbeat  8 bytes: digest of the options of the sender's caches
//	5  barrier    number of partitions as uvarint, then for each that the sender knows
//	              its number as uvarint, epoch and revision number, 8 bytes each
//	6  barrier    the last 4 bytes of the incarnation of each process that the sender
//	              knows; who is not among them says at once that it is there
//	7  heartbeat  4 bytes: milliseconds to the next heartbeat, at most; who says it learns
//	              elsewhere of what it misses
//
// Processes before protocol version 1 read bit 0 of the first byte, and nothing else.
const (
	extensionDeaf     = 1 // in the flags of a heartbeat
	extensionReadOnly = 2 // likewise

	fieldVersion   = 1
	fieldTier      = 2
	fieldNamespace = 3
	fieldOptions   = 4
	fieldPositions = 5
	fieldRoll      = 6
	fieldInterval  = 7

	// protocolVersion is what this package says of itself in heartbeats.
	protocolVersion = 2

	maxPositions = 2048 // in a question, 39 KiB
	maxRoll      = 1024 // likewise, 4 KiB
	rollSize     = 4    // bytes of an incarnation
)

// extension is what a message says beside what every version of this package reads.
// The zero extension is none.
type extension struct {
	deaf     bool
	readOnly bool // the sender publishes nothing
	version  uint8
	about    About         // its Settings are not in it
	interval time.Duration // of heartbeats, in whole milliseconds; 0: the sender does not say

	positions Positions
	roll      *[]uint32 // nil: the sender does not say whom it knows
}

// append appends the extension as a string.
func (e *extension) append(dst []byte) []byte {
	body := []byte{0}
	if e.deaf {
		body[0] |= extensionDeaf
	}
	if e.readOnly {
		body[0] |= extensionReadOnly
	}
	if e.version != 0 {
		body = append(body, fieldVersion, 1, e.version)
	}
	for _, f := range []struct {
		field byte
		value uint64
	}{{fieldTier, e.about.Tier}, {fieldNamespace, e.about.Namespace}, {fieldOptions, e.about.Options}} {
		if f.value != 0 {
			body = binary.BigEndian.AppendUint64(append(body, f.field, 8), f.value)
		}
	}
	if e.interval > 0 {
		milliseconds := min((e.interval+time.Millisecond-1)/time.Millisecond, math.MaxUint32)
		body = binary.BigEndian.AppendUint32(append(body, fieldInterval, 4), uint32(milliseconds))
	}
	if len(e.positions.Known) > 0 {
		body = appendString(append(body, fieldPositions), string(e.positions.append(nil)))
	}
	if e.roll != nil {
		body = binary.AppendUvarint(append(body, fieldRoll), uint64(rollSize*len(*e.roll)))
		for _, id := range *e.roll {
			body = binary.BigEndian.AppendUint32(body, id)
		}
	}
	return appendString(dst, string(body))
}

// empty reports whether a message needs no extension.
func (e *extension) empty() bool {
	return !e.deaf && !e.readOnly && e.version == 0 && e.about.Tier|e.about.Namespace|e.about.Options == 0 &&
		e.interval == 0 &&
		len(e.positions.Known) == 0 && e.roll == nil
}

// read reads the extension of a message of this kind.
func (e *extension) read(kind byte, text string) {
	*e = extension{}
	if text == "" || kind != typeHeartbeat && kind != typeBarrier {
		return
	}
	var got extension
	r := reader{data: []byte(text), text: text, at: 1}
	for r.at < len(r.data) && !r.faulty {
		got.take(kind, r.byte(), r.string(maxPayload))
	}
	if !r.faulty {
		*e = got
	}
	if kind == typeHeartbeat {
		e.deaf, e.readOnly = text[0]&extensionDeaf != 0, text[0]&extensionReadOnly != 0
	}
}

// take takes in one field, if it belongs to a message of this kind.
func (e *extension) take(kind, field byte, value string) {
	switch {
	case kind == typeBarrier && field == fieldPositions:
		e.positions.read(value)
	case kind == typeBarrier && field == fieldRoll:
		roll := make([]uint32, 0, min(len(value)/rollSize, maxRoll))
		for r := (reader{data: []byte(value)}); len(r.data)-r.at >= rollSize && len(roll) < maxRoll; {
			start, _ := r.take(rollSize)
			roll = append(roll, binary.BigEndian.Uint32(r.data[start:]))
		}
		e.roll = &roll
	case kind == typeHeartbeat && field == fieldVersion && len(value) >= 1:
		e.version = value[0]
	case kind == typeHeartbeat && field == fieldInterval && len(value) >= 4:
		e.interval = time.Duration(binary.BigEndian.Uint32([]byte(value[:4]))) * time.Millisecond
	case kind == typeHeartbeat && len(value) >= 8:
		number := binary.BigEndian.Uint64([]byte(value[:8]))
		switch field {
		case fieldTier:
			e.about.Tier = number
		case fieldNamespace:
			e.about.Namespace = number
		case fieldOptions:
			e.about.Options = number
		}
	}
}

// Positions say how far a process knows the journals of its shared tier, at least.
type Positions struct {
	// Partitions is the number of journals that the shared tier has.
	Partitions int

	// Known has the journals of which the process knows anything. A message has 2,048
	// of them at most, and no more than fit into it: those that come first.
	Known []Position
}

// Position is an entry of the journal of one partition, by its revision.
type Position struct {
	Partition       int
	Epoch, Revision uint64
}

// positionSize is the least size of a position.
const positionSize = 1 + 16

func (p *Positions) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.Partitions))
	for _, at := range p.Known {
		dst = binary.AppendUvarint(dst, uint64(at.Partition))
		dst = binary.BigEndian.AppendUint64(dst, at.Epoch)
		dst = binary.BigEndian.AppendUint64(dst, at.Revision)
	}
	return dst
}

// read reads text. Of what is no list of positions it takes nothing.
func (p *Positions) read(text string) {
	*p = Positions{}
	r := reader{data: []byte(text)}
	partitions := r.uvarint(maxPartitions)
	known := make([]Position, 0, min(len(text)/positionSize, maxPositions))
	for r.at < len(r.data) && !r.faulty && len(known) < maxPositions {
		known = append(known, Position{Partition: r.uvarint(maxPartitions), Epoch: r.uint64(), Revision: r.uint64()})
	}
	if !r.faulty && len(known) > 0 {
		*p = Positions{Partitions: partitions, Known: known}
	}
}

// maxPartitions bounds the number of a partition.
const maxPartitions = 1 << 24
