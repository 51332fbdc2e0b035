package bus

import "encoding/binary"

// Reasons and limits that tests look at.
var (
	ErrSilent     = errSilent
	ErrUnreadable = errUnreadable
	ErrDamaged    = errDamaged
	ErrText       = errText
)

// MaxPayload is the largest message.
const MaxPayload = maxPayload

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
	return appendHeartbeat(nil, node, incarnation, sequence, sent)
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
