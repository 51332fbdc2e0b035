package shared

import (
	"bytes"
	"encoding/gob"
)

// Gob is the [Codec] of encoding/gob, for values that only Go programs read. A
// record describes its type, so it is larger than JSON for small values. Types
// in interface fields have to be registered with [gob.Register]. The package
// gob does not promise to be cheap on hostile bytes: where others can write to
// the shared tier, take another codec.
var Gob Codec = gobCodec{}

type gobCodec struct{}

func (gobCodec) ID() uint8 { return CodecGob }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}
