package cborcodec

import (
	"encoding"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/nearbus/nearbus/shared/internal/fields"
)

// typeInfo is what has been found out about a type.
type typeInfo struct {
	text     bool // something in it is kept by its text alone
	readBack bool // what is written may be something that cannot be read
	dropped  []string
}

// types are those that a codec has met.
type types struct{ known sync.Map } // of typeInfo, by reflect.Type

func (ts *types) of(t reflect.Type) typeInfo {
	if known, ok := ts.known.Load(t); ok {
		return known.(typeInfo)
	}
	var info typeInfo
	report := fields.Look(t, fields.Rules{
		Own: func(t reflect.Type, _ bool) bool {
			if isText(t) {
				info.text = true
				return true
			}
			return fields.Has[cbor.Marshaler](t, true) || fields.Has[encoding.BinaryMarshaler](t, true)
		},
		Trusted: isTrusted,
		Name:    fieldName,
	})
	info.dropped, info.readBack = report.Dropped, report.Doubtful || report.Any
	ts.known.Store(t, info)
	return info
}

// isText reports whether t is a struct of which nothing is stored but by its text.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isTrusted(t) &&
		!fields.Has[cbor.Marshaler](t, true) && !fields.Has[encoding.BinaryMarshaler](t, true) &&
		fields.HasText(t) && fields.Empty(t, fields.Rules{Name: fieldName})
}

func isTrusted(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[big.Int]()
}

// fieldName returns what a field is called, and false for one that is not stored.
func fieldName(f reflect.StructField) (name string, stored bool) {
	tag := f.Tag.Get("cbor")
	if tag == "" {
		tag = f.Tag.Get("json")
	}
	name, _, _ = strings.Cut(tag, ",")
	if name == "" {
		name = f.Name
	}
	return name, tag != "-"
}
