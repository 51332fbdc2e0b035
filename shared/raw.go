package shared

import (
	"bytes"
	"fmt"
	"reflect"
)

// Raw is the [Codec] of values that are bytes already: of type []byte, string,
// or a type made of one of them, such as [encoding/json.RawMessage]. It stores
// them as they are, so other programs read them without a library, behind the
// header of the record. Its methods copy: the caller's bytes stay the caller's. Caches copy less,
// see [Aliaser].
var Raw Codec = rawCodec{}

type rawCodec struct{}

func (rawCodec) ID() uint8 { return CodecRaw }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return bytes.Clone(v), nil
	case string:
		return []byte(v), nil
	}
	switch r := reflect.ValueOf(v); {
	case isBytes(r):
		return bytes.Clone(r.Bytes()), nil
	case r.Kind() == reflect.String:
		return []byte(r.String()), nil
	}
	return nil, fmt.Errorf("shared: Raw: %T is neither bytes nor a string", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = bytes.Clone(data)
		return nil
	case *string:
		*v = string(data)
		return nil
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		switch r := p.Elem(); {
		case isBytes(r):
			r.SetBytes(bytes.Clone(data))
			return nil
		case r.Kind() == reflect.String:
			r.SetString(string(data))
			return nil
		}
	}
	return fmt.Errorf("shared: Raw: %T is no pointer to bytes or a string", v)
}

// Inspect implements [Inspector].
func (rawCodec) Inspect(t reflect.Type) (dropped []string, err error) {
	if t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return nil, nil
	}
	return nil, fmt.Errorf("shared: Raw: %v is neither bytes nor a string", t)
}

func isBytes(r reflect.Value) bool {
	return r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8
}
