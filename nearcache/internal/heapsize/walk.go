// Package heapsize tells what values take of the heap: by a walk through one, and for values of
// one type by their encoded lengths, as walks through samples have taught.
package heapsize

import (
	"reflect"
	"time"
	"unsafe"
)

const (
	// most bounds how many values one walk looks at. What is beyond counts nothing.
	most = 1 << 14

	// broad is how many elements of a slice, an array or a map are looked at. More count as
	// these do.
	broad = 64
)

// Of returns about how many bytes of the heap v takes beside what it takes where it stands: what
// it points to, by the size classes of the allocator, each piece once. It calls no method.
//
// It reads all of v, also what is not exported. Nobody may change v meanwhile.
func Of(v reflect.Value) int64 {
	w := walk{left: most}
	return w.beyond(v)
}

type walk struct {
	left int // values
	seen map[unsafe.Pointer]bool
}

// beyond returns what v points to takes.
func (w *walk) beyond(v reflect.Value) int64 {
	if w.left--; w.left < 0 {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return Piece(uintptr(v.Len()), false)
	case reflect.Pointer:
		return w.pointer(v)
	case reflect.Interface:
		return w.boxed(v.Elem())
	case reflect.Slice:
		if v.Cap() == 0 || w.met(v.UnsafePointer()) {
			return 0
		}
		of := v.Type().Elem()
		return Piece(uintptr(v.Cap())*of.Size(), Points(of)) + w.elements(v)
	case reflect.Array:
		return w.elements(v)
	case reflect.Struct:
		return w.fields(v)
	case reflect.Map:
		return w.table(v)
	default: // a number, or what is no data: a channel, a function
		return 0
	}
}

// met reports whether the walk has been at p.
func (w *walk) met(p unsafe.Pointer) bool {
	if w.seen[p] {
		return true
	}
	if w.seen == nil {
		w.seen = make(map[unsafe.Pointer]bool)
	}
	w.seen[p] = true
	return false
}

// location is shared by all times that have it.
var location = reflect.TypeFor[time.Location]()

func (w *walk) pointer(v reflect.Value) int64 {
	of := v.Type().Elem()
	if v.IsNil() || of == location || w.met(v.UnsafePointer()) {
		return 0
	}
	return Piece(of.Size(), Points(of)) + w.beyond(v.Elem())
}

// boxed returns what v, the value of an interface, takes.
func (w *walk) boxed(v reflect.Value) int64 {
	if !v.IsValid() {
		return 0
	}
	switch of := v.Type(); {
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Map: // are in the interface
		return w.beyond(v)
	case of.Size() <= 1: // the runtime has those
		return 0
	default:
		return Piece(of.Size(), Points(of)) + w.beyond(v)
	}
}

func (w *walk) fields(v reflect.Value) (size int64) {
	for i := range v.NumField() {
		if Points(v.Type().Field(i).Type) {
			size += w.beyond(v.Field(i))
		}
	}
	return size
}

// elements returns what the elements of a slice or an array point to take, or about that if
// they are many.
func (w *walk) elements(v reflect.Value) (size int64) {
	n := v.Len()
	if n == 0 || !Points(v.Type().Elem()) {
		return 0
	}
	looks := min(n, broad)
	for i := range looks {
		size += w.beyond(v.Index(i * n / looks))
	}
	return size * int64(n) / int64(looks)
}

// The layout of maps, as of Go 1.24: groups of eight places with eight bytes that say which are
// taken, in tables that double when seven of eight places are.
const (
	mapHeader   = 48
	tableHeader = 40
	group       = 8
	mostInPlace = 128 // a key or an element that is larger is apart
)

// table returns what a map takes.
func (w *walk) table(v reflect.Value) int64 {
	if v.IsNil() || w.met(v.UnsafePointer()) {
		return 0
	}
	n, key, elem := v.Len(), v.Type().Key(), v.Type().Elem()
	pointers := Points(key) || Points(elem)
	perGroup := group + group*(inPlace(key)+inPlace(elem))
	size := int64(mapHeader)
	switch {
	case n == 0:
	case n <= group:
		size += Piece(perGroup, pointers)
	default:
		places := uintptr(2 * group)
		for places*7/8 < uintptr(n) {
			places *= 2
		}
		if places > 1024 { // several tables, which have not all doubled by then
			places = uintptr(n) * 4 / 3
		}
		size += Piece(places/group*perGroup, pointers) + tableHeader
	}
	return size + w.pairs(v, apart(key)+apart(elem))
}

// pairs returns what the keys and elements of a map point to take, and besides what each pair
// takes apart.
func (w *walk) pairs(v reflect.Value, each int64) (size int64) {
	n := v.Len()
	keys, elems := Points(v.Type().Key()), Points(v.Type().Elem())
	if keys || elems {
		looks := 0
		for all := v.MapRange(); looks < broad && all.Next(); looks++ {
			if keys {
				size += w.beyond(all.Key())
			}
			if elems {
				size += w.beyond(all.Value())
			}
		}
		size = size * int64(n) / int64(max(looks, 1))
	}
	return size + int64(n)*each
}

func inPlace(of reflect.Type) uintptr {
	if of.Size() > mostInPlace {
		return unsafe.Sizeof(uintptr(0))
	}
	return of.Size()
}

func apart(of reflect.Type) int64 {
	if of.Size() > mostInPlace {
		return Piece(of.Size(), Points(of))
	}
	return 0
}

// Points reports whether values of a type point to anything.
func Points(of reflect.Type) bool {
	switch of.Kind() {
	case reflect.Array:
		return of.Len() > 0 && Points(of.Elem())
	case reflect.Struct:
		return fieldPoints(of)
	case reflect.String, reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface,
		reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	default:
		return false
	}
}

func fieldPoints(of reflect.Type) bool {
	for field := range of.Fields() {
		if Points(field.Type) {
			return true
		}
	}
	return false
}
