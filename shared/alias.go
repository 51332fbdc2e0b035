package shared

import (
	"reflect"
	"slices"
	"unsafe"
)

// Aliaser is implemented by a [Codec] that can do without a copy of large values: what it
// encodes may be memory of the value, and the value may be memory of what it decodes. [Raw]
// is one. Caches use it where nobody else has that memory. The methods do for the others what
// Marshal and Unmarshal do, and may be called as these are.
type Aliaser interface {
	// MarshalAlias is Codec.Marshal, but the result may be memory of v: who calls it does not
	// change the result, and keeps it no longer than v stays as it is.
	MarshalAlias(v any) ([]byte, error)

	// UnmarshalAlias is Codec.Unmarshal, but the codec may keep data in v. Nobody else has
	// data, or changes it, from then on.
	UnmarshalAlias(data []byte, v any) error
}

var _ Aliaser = rawCodec{}

// MarshalAlias implements [Aliaser].
func (c rawCodec) MarshalAlias(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return unsafe.Slice(unsafe.StringData(v), len(v)), nil
	}
	switch r := reflect.ValueOf(v); {
	case isBytes(r):
		return r.Bytes(), nil
	case r.Kind() == reflect.String:
		return c.MarshalAlias(r.String())
	}
	return c.Marshal(v)
}

// UnmarshalAlias implements [Aliaser]. What is appended to the value goes elsewhere.
func (c rawCodec) UnmarshalAlias(data []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = slices.Clip(data)
		return nil
	case *string:
		*v = unsafe.String(unsafe.SliceData(data), len(data))
		return nil
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		switch r := p.Elem(); {
		case isBytes(r):
			r.SetBytes(slices.Clip(data))
			return nil
		case r.Kind() == reflect.String:
			r.SetString(unsafe.String(unsafe.SliceData(data), len(data)))
			return nil
		}
	}
	return c.Unmarshal(data, v)
}
