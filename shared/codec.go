package shared

import "encoding/json"

// Codec turns values into bytes and back. Its methods may be called from many
// goroutines at once and must not keep what they are given.
type Codec interface {
	// ID names the codec in every record, so that a fleet can change codecs
	// without a flush: a record of another codec reads as a miss. IDs below
	// 128 belong to this library.
	ID() uint8

	// Marshal returns the encoded v. The caller owns the result.
	Marshal(v any) ([]byte, error)

	// Unmarshal decodes data into v, a pointer. It must not keep data.
	Unmarshal(data []byte, v any) error
}

// CodecRaw is the codec ID of values that are bytes as they are: those of
// [Tier.Set].
const CodecRaw uint8 = 0

// JSON is the [Codec] of encoding/json.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) ID() uint8                          { return 1 }
func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
