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
// It reads all of v, also what is not exported. Nobody may change v meanwhile. twin is the same value
// made once more: what both point to is not theirs, such as what a message knows of its type. It
// is neither counted nor read. A zero twin says that all is v's own.
func Of(v, twin reflect.Value) int64 {
	w := walk{left: most}
	return w.beyond(v, twin)
}

type walk struct {
	left int // values
	seen map[unsafe.Pointer]bool
}

// beyond returns what v points to takes.
func (w *walk) beyond(v, twin reflect.Value) int64 {
	if w.left--; w.left < 0 {
		return 0
	}
	if twin.IsValid() && twin.Type() != v.Type() {
		twin = reflect.Value{}
	}
	switch v.Kind() {
	case reflect.String:
		return Piece(uintptr(v.Len()), false)
	case reflect.Pointer:
		return w.pointer(v, twin)
	case reflect.Interface:
		return w.boxed(v.Elem(), inside(twin))
	case reflect.Slice:
		if v.Cap() == 0 || w.met(v.UnsafePointer()) {
			return 0
		}
		of := v.Type().Elem()
		if Points(of) && same(v, twin) {
			return 0
		}
		return Piece(uintptr(v.Cap())*of.Size(), Points(of)) + w.elements(v, twin)
	case reflect.Array:
		return w.elements(v, twin)
	case reflect.Struct:
		return w.fields(v, twin)
	case reflect.Map:
		return w.table(v, twin)
	default: // a number, or what is no data: a channel, a function
		return 0
	}
}

// same reports whether v and twin point to one piece.
func same(v, twin reflect.Value) bool {
	return twin.IsValid() && v.UnsafePointer() == twin.UnsafePointer()
}

// inside returns what a pointer or an interface has in it, the zero Value if that is nothing.
func inside(v reflect.Value) reflect.Value {
	if !v.IsValid() {
		return v
	}
	return v.Elem()
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

func (w *walk) pointer(v, twin reflect.Value) int64 {
	of := v.Type().Elem()
	if v.IsNil() || of == location || same(v, twin) || w.met(v.UnsafePointer()) {
		return 0
	}
	return Piece(of.Size(), Points(of)) + w.beyond(v.Elem(), inside(twin))
}

// boxed returns what v, the value of an interface, takes.
func (w *walk) boxed(v, twin reflect.Value) int64 {
	if !v.IsValid() {
		return 0
	}
	switch of := v.Type(); {
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Map: // are in the interface
		return w.beyond(v, twin)
	case of.Size() <= 1: // the runtime has those
		return 0
	default:
		return Piece(of.Size(), Points(of)) + w.beyond(v, twin)
	}
}

func (w *walk) fields(v, twin reflect.Value) (size int64) {
	for i := range v.NumField() {
		if Points(v.Type().Field(i).Type) {
			var other reflect.Value
			if twin.IsValid() {
				other = twin.Field(i)
			}
			size += w.beyond(v.Field(i), other)
		}
	}
	return size
}

// elements returns what the elements of a slice or an array point to take, or about that if
// they are many.
func (w *walk) elements(v, twin reflect.Value) (size int64) {
	n := v.Len()
	if n == 0 || !Points(v.Type().Elem()) {
		return 0
	}
	looks := min(n, broad)
	for i := range looks {
		var other reflect.Value
		if twin.IsValid() && twin.Len() == n {
			other = twin.Index(i * n / looks)
		}
		size += w.beyond(v.Index(i*n/looks), other)
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
func (w *walk) table(v, twin reflect.Value) int64 {
	if v.IsNil() || same(v, twin) || w.met(v.UnsafePointer()) {
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
	return size + w.pairs(v, twin, apart(key)+apart(elem))
}

// pairs returns what the keys and elements of a map point to take, and besides what each pair
// takes apart.
func (w *walk) pairs(v, twin reflect.Value, each int64) (size int64) {
	n := v.Len()
	keys, elems := Points(v.Type().Key()), Points(v.Type().Elem())
	if keys || elems {
		looks := 0
		for all := v.MapRange(); looks < broad && all.Next(); looks++ {
			if keys {
				size += w.beyond(all.Key(), reflect.Value{})
			}
			if elems {
				var other reflect.Value
				if twin.IsValid() {
					other = twin.MapIndex(all.Key())
				}
				size += w.beyond(all.Value(), other)
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
