package bus

import (
	"encoding/binary"
	"time"
)

// Reasons and limits that tests look at.
var (
	ErrSilent  = errSilent
	ErrNewer   = errNewer
	ErrDamaged = errDamaged
	ErrText    = errText
)

// MaxPayload is the largest message.
const MaxPayload = maxPayload

// OpenBarriers returns how many questions of barriers b remembers.
func OpenBarriers(b *Bus) int {
	b.barriers.mu.Lock()
	defer b.barriers.mu.Unlock()
	return len(b.barriers.open)
}

// Encode encodes a message of invalidations, whatever their number.
func Encode(m Message) []byte {
	dst := appendHeader(nil, typeInvalidations, m.Node, m.Incarnation, m.Sequence)
	dst = binary.AppendUvarint(dst, uint64(len(m.Invalidations)))
	previous := ""
	for i := range m.Invalidations {
		dst = appendItem(dst, &m.Invalidations[i], previous)
		previous = m.Invalidations[i].Cache
	}
	return dst
}

// EncodeHeartbeat encodes a heartbeat.
func EncodeHeartbeat(node string, incarnation, sequence uint64, sent int64) []byte {
	return appendHeartbeat(nil, node, incarnation, sequence, sent, &extension{})
}

// EncodeDeaf encodes a heartbeat of a process that does not listen.
func EncodeDeaf(node string, incarnation, sequence uint64, sent int64) []byte {
	return appendHeartbeat(nil, node, incarnation, sequence, sent, &extension{deaf: true})
}

// EncodeReadOnly encodes a heartbeat of a process that says that it publishes nothing.
func EncodeReadOnly(node string, incarnation, sequence uint64, sent int64) []byte {
	return appendHeartbeat(nil, node, incarnation, sequence, sent, &extension{readOnly: true})
}

// EncodeBarrier encodes the question of a barrier.
func EncodeBarrier(node string, incarnation, sequence, number uint64, asked ...uint64) []byte {
	return encodeBarrier(node, incarnation, sequence, number, asked, &extension{})
}

// EncodeAbout encodes a heartbeat as this version sends it.
func EncodeAbout(node string, incarnation, sequence uint64, sent int64, a About) []byte {
	return appendHeartbeat(nil, node, incarnation, sequence, sent, &extension{version: protocolVersion, about: a})
}

// EncodeInterval encodes a heartbeat that says the interval of the sender.
func EncodeInterval(node string, incarnation, sequence uint64, sent int64, interval time.Duration) []byte {
	return appendHeartbeat(nil, node, incarnation, sequence, sent, &extension{version: protocolVersion, interval: interval})
}

// EncodeQuestion encodes the question of a barrier to everybody as this version sends it.
func EncodeQuestion(node string, incarnation, sequence, number uint64, p Positions, roll ...uint32) []byte {
	return encodeBarrier(node, incarnation, sequence, number, nil, &extension{positions: p, roll: &roll})
}

// EncodeAsking encodes a question for settings.
func EncodeAsking(node string, incarnation, sequence uint64, asked ...uint64) []byte {
	return encodeAsking(node, incarnation, sequence, asked)
}

// EncodeSettings encodes settings, as many as limit has room for.
func EncodeSettings(node string, incarnation, sequence uint64, a About, limit int) []byte {
	return encodeSettings(node, incarnation, sequence, &a, limit)
}

// EncodeRollCall encodes the question who is there.
func EncodeRollCall(node string, incarnation, sequence, number uint64, known ...uint64) []byte {
	return encodeRollCall(node, incarnation, sequence, number, known)
}

// Said is what a decoded message says beside what it is for.
type Said struct {
	Deaf      bool
	ReadOnly  bool
	Version   uint8
	About     About
	Positions Positions
	Roll      []uint32
	Interval  time.Duration
}

// DecodeSaid decodes a heartbeat, a barrier or settings.
func DecodeSaid(payload []byte) (Said, error) {
	var f frame
	err := f.decode(payload)
	e := &f.extension
	s := Said{Deaf: e.deaf, ReadOnly: e.readOnly, Version: e.version, About: e.about, Positions: e.positions, Interval: e.interval}
	if e.roll != nil {
		s.Roll = *e.roll
	}
	if f.kind == typeSettings {
		s.About = About{Options: f.digest, Settings: f.settings}
	}
	return s, err
}

// EncodeArrivals encodes answers to barriers of the process with an incarnation.
func EncodeArrivals(node string, incarnation, sequence, asker uint64, numbers ...uint64) []byte {
	calls := make([]BarrierRequest, len(numbers))
	for i, n := range numbers {
		calls[i] = BarrierRequest{incarnation: asker, number: n}
	}
	return encodeArrivals(node, incarnation, sequence, calls)
}

// Again decodes a payload and returns what encodes to the same again.
func Again(payload []byte) ([]byte, error) {
	var f frame
	if err := f.decode(payload); err != nil {
		return nil, err
	}
	m := &f.message
	switch f.kind {
	case typeHeartbeat:
		return appendHeartbeat(nil, m.Node, m.Incarnation, m.Sequence, f.sent, &f.extension), nil
	case typeGoodbye:
		return appendGoodbye(nil, m.Node, m.Incarnation, m.Sequence), nil
	case typeBarrier:
		return encodeBarrier(m.Node, m.Incarnation, m.Sequence, f.call, f.asked, &f.extension), nil
	case typeArrivals:
		return encodeArrivals(m.Node, m.Incarnation, m.Sequence, f.calls), nil
	case typeAsking:
		return encodeAsking(m.Node, m.Incarnation, m.Sequence, f.asked), nil
	case typeRollCall:
		return encodeRollCall(m.Node, m.Incarnation, m.Sequence, f.call, f.asked), nil
	case typeSettings:
		about := About{Options: f.digest, Settings: f.settings}
		return encodeSettings(m.Node, m.Incarnation, m.Sequence, &about, maxPayload+frameSize), nil
	}
	return Encode(*m), nil
}

// EncodeGoodbye encodes a goodbye.
func EncodeGoodbye(node string, incarnation, sequence uint64) []byte {
	return appendGoodbye(nil, node, incarnation, sequence)
}

// MaxPeers is how many other processes are remembered.
const MaxPeers = maxPeers

// Decode decodes a payload in the binary form.
func Decode(payload []byte) (m Message, heartbeat bool, sent int64, err error) {
	var f frame
	err = f.decode(payload)
	return f.message, f.heartbeat, f.sent, err
}

// DecodeText decodes a payload in the plain-text form.
func DecodeText(payload []byte) ([]Invalidation, error) {
	var f frame
	err := f.decodeText(payload)
	return f.message.Invalidations, err
}
