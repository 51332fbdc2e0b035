// Package cborcodec is a [shared.Codec] for CBOR (RFC 8949): about as large as
// MessagePack, faster than JSON, and readable in every language.
//
//	users, err := nearcache.New(node, "users", nearcache.Options[User]{Codec: cborcodec.New()})
//
// Structs are maps with their field names, as in JSON: the codec heeds json tags, and
// cbor tags before them. Times keep nanoseconds and zone. If nothing of a struct would
// be stored, as for a [math/big.Rat] or a [regexp.Regexp], the codec stores the text
// that the struct makes of itself.
package cborcodec

import (
	"fmt"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/nearbus/nearbus/shared"
)

// maxDepth is how deep values may be nested, as in JSON.
const maxDepth = 10000

// Codec is a [shared.Codec] for CBOR. It is safe for use by many goroutines.
type Codec struct {
	plain mode // of types that have nothing in it which is kept by its text alone
	text  mode // of those that have
	trees cbor.DecMode
	types types
}

var (
	_ shared.Codec     = (*Codec)(nil)
	_ shared.Inspector = (*Codec)(nil)
)

type mode struct {
	cbor.EncMode
	cbor.DecMode
}

// New returns the codec. All that it returns are alike.
func New() *Codec {
	c := &Codec{
		plain: newMode(cbor.TextMarshalerNone, cbor.TextUnmarshalerNone),
		text:  newMode(cbor.TextMarshalerTextString, cbor.TextUnmarshalerTextString),
	}
	trees := decOptions
	trees.DefaultMapType = reflect.TypeFor[map[any]any]()
	c.trees = must(trees.DecMode())
	return c
}

var decOptions = cbor.DecOptions{
	DefaultMapType: reflect.TypeFor[map[string]any](),
	// The size of a record bounds these; a smaller limit would refuse what
	// Marshal wrote.
	MaxArrayElements: math.MaxInt32,
	MaxMapPairs:      math.MaxInt32,
	MaxNestedLevels:  maxDepth,
	UTF8:             cbor.UTF8DecodeInvalid, // a string of Go may be anything
}

func newMode(marshal cbor.TextMarshalerMode, unmarshal cbor.TextUnmarshalerMode) mode {
	dec := decOptions
	dec.TextUnmarshaler = unmarshal
	return mode{
		must(cbor.EncOptions{
			Time:          cbor.TimeRFC3339Nano,
			TimeTag:       cbor.EncTagRequired,
			TextMarshaler: marshal,
		}.EncMode()),
		must(dec.DecMode()),
	}
}

func must[M any](m M, err error) M {
	if err != nil {
		panic("cborcodec: " + err.Error()) // the options are constant
	}
	return m
}

// ID returns [shared.CodecCBOR].
func (c *Codec) ID() uint8 { return shared.CodecCBOR }

// Marshal returns v in CBOR. What Unmarshal would not read is an error, such as what
// is nested deeper than 10,000 levels.
func (c *Codec) Marshal(v any) ([]byte, error) {
	if v == nil {
		return c.plain.Marshal(v)
	}
	t := reflect.TypeOf(v)
	known := c.types.of(t)
	m := c.mode(known)
	data, err := m.Marshal(v)
	if err != nil {
		return nil, err
	}
	if known.readBack {
		err = m.Unmarshal(data, reflect.New(t).Interface())
	} else {
		err = m.Wellformed(data)
	}
	if err != nil {
		return nil, fmt.Errorf("cborcodec: what is written of a %T cannot be read back: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes data, which must be one data item, into v.
func (c *Codec) Unmarshal(data []byte, v any) error {
	known := typeInfo{}
	if t := reflect.TypeOf(v); t != nil && t.Kind() == reflect.Pointer {
		known = c.types.of(t.Elem())
	}
	err := c.mode(known).Unmarshal(data, v)
	if tree, is := v.(*any); is && err != nil {
		return c.unmarshalTree(data, tree)
	}
	if err != nil || !known.text {
		return err
	}
	return c.refuseEmptied(data, v)
}

func (c *Codec) mode(t typeInfo) mode {
	if t.text {
		return c.text
	}
	return c.plain
}

// Inspect implements [shared.Inspector].
func (c *Codec) Inspect(t reflect.Type) (dropped []string, err error) {
	return c.types.of(t).dropped, nil
}
