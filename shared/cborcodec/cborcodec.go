// Package cborcodec is a [shared.Codec] for CBOR (RFC 8949): about as large as
// MessagePack, faster than JSON, and readable in every language.
//
//	users, err := nearcache.New(node, "users", nearcache.Options[User]{Codec: cborcodec.New()})
//
// Structs are maps with their field names, as in JSON: json tags are heeded,
// cbor tags before them. Times keep their nanoseconds and zone.
package cborcodec

import (
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/nearbus/nearbus/shared"
)

// Codec is a [shared.Codec] for CBOR. It is safe for use by many goroutines.
type Codec struct {
	encode cbor.EncMode
	decode cbor.DecMode
}

var _ shared.Codec = (*Codec)(nil)

// New returns the codec. All that it returns are alike.
func New() *Codec {
	encode, err := cbor.EncOptions{
		Time:    cbor.TimeRFC3339Nano,
		TimeTag: cbor.EncTagRequired,
	}.EncMode()
	if err != nil {
		panic("cborcodec: " + err.Error()) // the options above are constant
	}
	decode, err := cbor.DecOptions{
		DefaultMapType: reflect.TypeFor[map[string]any](),
		// The size of a record bounds these; a smaller limit would refuse what
		// Marshal wrote.
		MaxArrayElements: math.MaxInt32,
		MaxMapPairs:      math.MaxInt32,
		MaxNestedLevels:  256,
	}.DecMode()
	if err != nil {
		panic("cborcodec: " + err.Error()) // the options above are constant
	}
	return &Codec{encode: encode, decode: decode}
}

// ID returns [shared.CodecCBOR].
func (c *Codec) ID() uint8 { return shared.CodecCBOR }

// Marshal returns v in CBOR.
func (c *Codec) Marshal(v any) ([]byte, error) { return c.encode.Marshal(v) }

// Unmarshal decodes data, which must be one data item, into v.
func (c *Codec) Unmarshal(data []byte, v any) error { return c.decode.Unmarshal(data, v) }
