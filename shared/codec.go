package shared

import "encoding/json"

// Codec turns values into bytes and back. Its methods may be called from many
// goroutines at once and must not keep what they are given. Unmarshal meets
// whatever is in the shared tier: it must return an error for bytes that it
// cannot read. A panic of a codec becomes an error.
type Codec interface {
	// ID names the codec in every record, so that a fleet can change codecs
	// without a flush: a record of a codec that its reader does not have reads
	// as a miss. IDs below 128 belong to this library. It is the same at each
	// call.
	ID() uint8

	// Marshal returns the encoded v. The caller owns the result.
	Marshal(v any) ([]byte, error)

	// Unmarshal decodes data into v, a pointer. It must not keep data.
	Unmarshal(data []byte, v any) error
}

// IDs of the codecs of this library. Those from 5 to 127 are kept for later
// ones, those from 128 on are free.
const (
	CodecRaw   uint8 = 0 // Raw, and what Tier.Set stores
	CodecJSON  uint8 = 1 // JSON
	CodecGob   uint8 = 2 // Gob
	CodecCBOR  uint8 = 3 // of the package cborcodec
	CodecProto uint8 = 4 // of the package protocodec
)

// JSON is the [Codec] of encoding/json. It is the default.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) ID() uint8                          { return CodecJSON }
func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
