package shared

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec turns values into bytes and back. Its methods may be called from many
// goroutines at once and must not keep what they are given. Unmarshal meets
// whatever is in the shared tier: it must return an error for bytes that it
// cannot read. A panic of a codec becomes an error. A codec that knows types may
// implement [Inspector], and one that can do without copies [Aliaser].
type Codec interface {
	// ID names the codec in every record, so that a fleet can change codecs
	// without a flush: a record of a codec that its reader does not have reads
	// as a miss. IDs below 128 belong to this library. It is the same at each
	// call.
	ID() uint8

	// Marshal returns the encoded v. The caller owns the result. It returns an error
	// for what Unmarshal would refuse: otherwise the key is a miss on all other
	// servers.
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

// JSON is the [Codec] of encoding/json. It is the default. Methods with pointer
// receivers are called for values, too. Numbers in an interface come back as
// float64, and text that is not UTF-8 with U+FFFD in the place of what is not.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

// maxJSONDepth is how deep json.Unmarshal goes.
const maxJSONDepth = 10000

func (jsonCodec) ID() uint8 { return CodecJSON }

func (c jsonCodec) Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(addressable(v))
	if err != nil || v == nil {
		return data, err
	}
	deep := bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > maxJSONDepth
	if deep || jsonTypes.of(reflect.TypeOf(v)).Doubtful {
		if err := readBack(c, data, v); err != nil {
			return nil, fmt.Errorf("shared: JSON: %w", err)
		}
	}
	return data, nil
}

func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Inspect implements [Inspector].
func (jsonCodec) Inspect(t reflect.Type) (dropped []string, err error) {
	return jsonTypes.of(t).Dropped, nil
}
