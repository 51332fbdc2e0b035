package shared

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"reflect"
)

// Gob is the [Codec] of encoding/gob, for values that only Go programs read. A
// record describes its type, so it is larger than JSON for small values. Types
// in interface fields have to be registered with [gob.Register]. The type of a cache
// is no interface, and a nil pointer is refused. A pointer to a zero value in a field
// comes back as nil, an empty slice or map likewise. The package
// gob does not promise to be cheap on hostile bytes: where others can write to
// the shared tier, take another codec.
var Gob Codec = gobCodec{}

type gobCodec struct{}

func (gobCodec) ID() uint8 { return CodecGob }

func (c gobCodec) Marshal(v any) ([]byte, error) {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
		return nil, fmt.Errorf("shared: Gob: %T is nil", v)
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(addressable(v)); err != nil {
		return nil, err
	}
	if gobTypes.of(reflect.TypeOf(v)).Doubtful {
		if err := readBack(c, b.Bytes(), v); err != nil {
			return nil, fmt.Errorf("shared: Gob: %w", err)
		}
	}
	return b.Bytes(), nil
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// Inspect implements [Inspector].
func (gobCodec) Inspect(t reflect.Type) (dropped []string, err error) {
	if t.Kind() == reflect.Interface {
		return nil, fmt.Errorf("shared: Gob: %v is an interface: nothing says of which type a value was", t)
	}
	return gobTypes.of(t).Dropped, nil
}
