package shared

import (
	"encoding"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/internal/fields"
)

// Inspector is implemented by a [Codec] that can tell from a type alone what it keeps
// of the values. All codecs of this library do.
type Inspector interface {
	// Inspect returns the fields that are not stored of a value of the type t, which
	// is that of a cache: those that are not exported, and those that a tag excludes.
	// Each is a path, such as "Owner.cache" or "Owners[].cache"; there are 16 at most.
	// What implements an interface by which the codec stores it is not looked into. The
	// error says that no value of t can be stored and read back. It may be called from
	// many goroutines at once.
	Inspect(t reflect.Type) (dropped []string, err error)
}

// inspected keeps what was found out about types.
type inspected struct {
	rules   fields.Rules
	reports sync.Map // of fields.Report, by reflect.Type
}

func (i *inspected) of(t reflect.Type) fields.Report {
	if r, ok := i.reports.Load(t); ok {
		return r.(fields.Report)
	}
	r := fields.Look(t, i.rules)
	i.reports.Store(t, r)
	return r
}

var typeTime = reflect.TypeFor[time.Time]()

func isTime(t reflect.Type) bool { return t == typeTime }

var jsonTypes = inspected{rules: fields.Rules{
	Own: func(t reflect.Type, addressable bool) bool {
		return fields.Has[json.Marshaler](t, addressable) || fields.Has[encoding.TextMarshaler](t, addressable)
	},
	Trusted: isTime,
	Name: func(f reflect.StructField) (string, bool) {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		return name, tag != "-"
	},
}}

var gobTypes = inspected{rules: fields.Rules{
	Own: func(t reflect.Type, _ bool) bool {
		return fields.Has[gob.GobEncoder](t, true) || fields.Has[encoding.BinaryMarshaler](t, true)
	},
	Trusted: isTime,
	Name: func(f reflect.StructField) (string, bool) {
		t := f.Type
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		return f.Name, t.Kind() != reflect.Func && t.Kind() != reflect.Chan
	},
	Closed: true,
}}

// addressable returns v, or a pointer to a copy of it if methods with pointer
// receivers would not be found otherwise.
func addressable(v any) any {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid() || r.Kind() == reflect.Pointer:
		return v
	case r.Type().PkgPath() == "" && r.Kind() != reflect.Struct && r.Kind() != reflect.Array:
		return v // no methods, and what it has elements of can be had by address, or not at all
	}
	p := reflect.New(r.Type())
	p.Elem().Set(r)
	return p.Interface()
}

// readBack makes sure that codec reads data, which it made of v.
func readBack(codec Codec, data []byte, v any) error {
	if v == nil {
		return nil
	}
	if err := codec.Unmarshal(data, reflect.New(reflect.TypeOf(v)).Interface()); err != nil {
		return fmt.Errorf("what is written of a %T cannot be read back: %w", v, err)
	}
	return nil
}
