// Package fields finds out which fields of a type a codec keeps.
package fields

import (
	"encoding"
	"reflect"
	"sync"
)

// MaxDropped is the largest number of fields that a [Report] names.
const MaxDropped = 16

// maxTypes bounds how much of a type is looked at.
const maxTypes = 1000

// Rules are how a codec sees types.
type Rules struct {
	// Own reports whether a type has a form of its own, which is not looked into.
	// addressable says whether methods with pointer receivers are called.
	Own func(t reflect.Type, addressable bool) bool

	// Trusted is a type with a form of its own that is known to be read as it was
	// written; it may be nil.
	Trusted func(t reflect.Type) bool

	// Name returns what an exported field is called in the encoded form, and false for
	// one that is not written.
	Name func(f reflect.StructField) (name string, written bool)

	// Closed says that an embedded struct whose type is not exported is not written.
	Closed bool
}

// Report is what a codec makes of a type.
type Report struct {
	// Dropped are the fields that are not written, by their path, such as
	// "Owner.cache" or "Owners[].cache"; [MaxDropped] at most.
	Dropped []string

	// Doubtful says that something in the type has a form of its own, is an
	// interface with methods, or an embedded pointer to a type that is not exported:
	// what is written may be something that cannot be read.
	Doubtful bool

	// Any says that there is an interface without methods in the type.
	Any bool
}

// Look looks at every field of t, and at those of the types in it.
func Look(t reflect.Type, rules Rules) Report {
	w := walk{rules: rules, seen: map[place]bool{}, named: map[field]bool{}}
	w.look(t, "", true)
	return w.report
}

type place struct {
	t           reflect.Type
	addressable bool
}

type field struct {
	of    reflect.Type
	place int
}

type walk struct {
	rules  Rules
	seen   map[place]bool
	named  map[field]bool // those that were dropped
	report Report
}

func (w *walk) look(t reflect.Type, path string, addressable bool) {
	at := place{t, addressable}
	if w.seen[at] || len(w.seen) >= maxTypes {
		return
	}
	w.seen[at] = true
	switch {
	case w.rules.Trusted != nil && w.rules.Trusted(t):
		return
	case t.Kind() != reflect.Pointer && w.rules.Own(t, addressable):
		w.report.Doubtful = true
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		w.look(t.Elem(), path, true)
	case reflect.Slice:
		w.look(t.Elem(), path+"[]", true)
	case reflect.Array:
		w.look(t.Elem(), path+"[]", addressable)
	case reflect.Map:
		w.look(t.Key(), path+"[key]", false)
		w.look(t.Elem(), path+"[]", false)
	case reflect.Interface:
		w.report.Any = w.report.Any || t.NumMethod() == 0
		w.report.Doubtful = w.report.Doubtful || t.NumMethod() > 0
	case reflect.Struct:
		w.fields(t, path, addressable)
	}
}

// fields looks at the fields of the struct t.
func (w *walk) fields(t reflect.Type, path string, addressable bool) {
	names := map[string]int{}
	for f := range t.Fields() {
		if f.IsExported() && !f.Anonymous {
			name, _ := w.rules.Name(f)
			names[name]++
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name := join(path, f.Name)
		switch inner := f.Type; {
		case !f.IsExported() && !w.opens(f):
			w.drop(field{t, i}, name)
		case f.IsExported() && !w.written(f, names):
			w.drop(field{t, i}, name)
		case !f.IsExported() && inner.Kind() == reflect.Pointer:
			w.report.Doubtful = true
			w.look(inner.Elem(), name, true)
		default:
			w.look(inner, name, addressable)
		}
	}
}

// written reports whether an exported field is written: two of one name are not.
func (w *walk) written(f reflect.StructField, names map[string]int) bool {
	name, ok := w.rules.Name(f)
	return ok && (f.Anonymous || names[name] == 1)
}

// opens reports whether f is an embedded struct whose exported fields are written
// although its type is not exported.
func (w *walk) opens(f reflect.StructField) bool {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, written := w.rules.Name(f); !written {
		return false
	}
	return f.Anonymous && t.Kind() == reflect.Struct && !w.rules.Closed
}

// drop notes a field that is not written, unless there is nothing in it to lose.
func (w *walk) drop(at field, path string) {
	f := at.of.Field(at.place)
	nothing := f.Name == "_" || f.Type.Size() == 0 || reflect.PointerTo(f.Type).Implements(typeLocker)
	if nothing || w.named[at] || len(w.report.Dropped) == MaxDropped {
		return
	}
	w.named[at] = true
	w.report.Dropped = append(w.report.Dropped, path)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Empty reports whether rules see no field of the struct t.
func Empty(t reflect.Type, rules Rules) bool {
	w := walk{rules: rules}
	for f := range t.Fields() {
		if !f.IsExported() && !w.opens(f) {
			continue
		}
		if _, written := rules.Name(f); !written {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if !f.Anonymous || inner.Kind() != reflect.Struct || !Empty(inner, rules) {
			return false
		}
	}
	return true
}

// Has reports whether t has the methods of the interface I: those of a pointer to
// it too, if addressable.
func Has[I any](t reflect.Type, addressable bool) bool {
	i := reflect.TypeFor[I]()
	return t.Implements(i) || addressable && reflect.PointerTo(t).Implements(i)
}

// HasText reports whether values of t can be written as text and be read from it.
func HasText(t reflect.Type) bool {
	return Has[encoding.TextMarshaler](t, true) && Has[encoding.TextUnmarshaler](t, true)
}

var typeLocker = reflect.TypeFor[sync.Locker]()
