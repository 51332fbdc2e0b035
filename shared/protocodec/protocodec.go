// Package protocodec is a [shared.Codec] for Protocol Buffers. The type of the cache is
// the pointer to a generated message:
//
//	users, err := nearcache.New(node, "users", nearcache.Options[*pb.User]{Codec: protocodec.New()})
//
// All callers share a message in the near tier. If a caller changes the result of Get,
// set Options.Clone to [proto.CloneOf].
package protocodec

import (
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/nearbus/nearbus/shared"
)

// Codec is a [shared.Codec] for Protocol Buffers. It is safe for use by many
// goroutines.
type Codec struct{ kinds sync.Map } // whether messages of a name are recursive

var (
	_ shared.Codec     = (*Codec)(nil)
	_ shared.Inspector = (*Codec)(nil)
)

// New returns the codec. All that it returns are alike.
func New() *Codec { return &Codec{} }

// ID returns [shared.CodecProto].
func (*Codec) ID() uint8 { return shared.CodecProto }

// Marshal returns the message v in wire format. A nil message is an error: it
// would come back as an empty one. So is one that is nested deeper than Unmarshal goes,
// 10,000 levels.
func (c *Codec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("protocodec: %T is not a proto.Message", v)
	}
	if !m.ProtoReflect().IsValid() {
		return nil, fmt.Errorf("protocodec: %T is nil", v)
	}
	data, err := proto.Marshal(m)
	if err != nil || len(data) < protowire.DefaultRecursionLimit || !c.recursive(m.ProtoReflect().Descriptor()) {
		return data, err // each level takes a byte, and more
	}
	if err := proto.Unmarshal(data, m.ProtoReflect().New().Interface()); err != nil {
		return nil, fmt.Errorf("protocodec: what is written of a %T cannot be read back: %w", v, err)
	}
	return data, nil
}

// Equal reports whether a and b are equal messages. Tests that compare what came back
// use it.
func (*Codec) Equal(a, b any) bool {
	x, ok := a.(proto.Message)
	y, also := b.(proto.Message)
	return ok && also && proto.Equal(x, y)
}

// Inspect implements [shared.Inspector].
func (*Codec) Inspect(t reflect.Type) (dropped []string, err error) {
	if t.Kind() != reflect.Pointer || !t.Implements(reflect.TypeFor[proto.Message]()) {
		return nil, fmt.Errorf("protocodec: %v is no pointer to a generated message", t)
	}
	return nil, nil
}

// Unmarshal decodes data into v, a pointer to a pointer to a message, where it
// puts a new message.
func (*Codec) Unmarshal(data []byte, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Pointer {
		return fmt.Errorf("protocodec: %T is no pointer to a pointer to a message", v)
	}
	fresh := reflect.New(target.Type().Elem().Elem())
	m, ok := reflect.TypeAssert[proto.Message](fresh)
	if !ok {
		return fmt.Errorf("protocodec: %T is no pointer to a proto.Message", v)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return err
	}
	target.Elem().Set(fresh)
	return nil
}
