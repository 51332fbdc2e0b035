package nearcachetest

import (
	"bytes"
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// firstDifference returns where what b points to is not as what a points to, as an
// error; nil if it is nowhere.
func firstDifference[V any](a, b *V) error {
	c := comparison{met: map[[2]uintptr]bool{}}
	if c.same(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), "") {
		return nil
	}
	return fmt.Errorf("%s: %s went in, %s came back", cmp.Or(strings.TrimPrefix(c.path, "."), "all of it"), describe(c.a), describe(c.b))
}

// comparison holds where two values differ first.
type comparison struct {
	met  map[[2]uintptr]bool // pointers that have been compared
	path string
	a, b reflect.Value
}

// same compares two values of one type.
func (c *comparison) same(a, b reflect.Value, path string) bool {
	if same, known := bySelf(a, b); known {
		return c.note(same, a, b, path)
	}
	switch a.Kind() {
	case reflect.Pointer:
		return c.samePointer(a, b, path)
	case reflect.Interface:
		if a.IsNil() || b.IsNil() || a.Elem().Type() != b.Elem().Type() {
			return c.note(a.IsNil() && b.IsNil(), a, b, path)
		}
		return c.same(a.Elem(), b.Elem(), path)
	case reflect.Struct:
		for i := range a.NumField() {
			if f := a.Type().Field(i); f.Name != "_" && !c.same(a.Field(i), b.Field(i), path+"."+f.Name) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		return c.sameElements(a, b, path)
	case reflect.Map:
		return c.sameMap(a, b, path)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return c.note(a.IsNil() && b.IsNil(), a, b, path)
	}
	return c.note(a.Equal(b) || a.CanFloat() && a.Float() != a.Float() && b.Float() != b.Float(), a, b, path)
}

func (c *comparison) samePointer(a, b reflect.Value, path string) bool {
	if a.IsNil() || b.IsNil() {
		return c.note(a.IsNil() == b.IsNil(), a, b, path)
	}
	pair := [2]uintptr{a.Pointer(), b.Pointer()}
	if c.met[pair] {
		return true
	}
	c.met[pair] = true
	return c.same(a.Elem(), b.Elem(), path)
}

func (c *comparison) sameElements(a, b reflect.Value, path string) bool {
	if a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() || a.Len() != b.Len() {
		return c.note(false, a, b, path)
	}
	for i := range a.Len() {
		if !c.same(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i)) {
			return false
		}
	}
	return true
}

func (c *comparison) sameMap(a, b reflect.Value, path string) bool {
	if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
		return c.note(false, a, b, path)
	}
	for keys := a.MapRange(); keys.Next(); {
		other := b.MapIndex(keys.Key())
		if !other.IsValid() {
			return c.note(false, a, b, path)
		}
		if !c.same(keys.Value(), other, fmt.Sprintf("%s[%v]", path, keys.Key())) {
			return false
		}
	}
	return true
}

// note keeps the difference, if there is one.
func (c *comparison) note(same bool, a, b reflect.Value, path string) bool {
	if !same {
		c.path, c.a, c.b = path, a, b
	}
	return same
}

// bySelf compares by the methods that the type has for it, and reports whether it has
// one: Equal, Cmp, or what makes a text of a value that has no exported field.
func bySelf(a, b reflect.Value) (same, known bool) {
	if !a.CanInterface() || a.Kind() == reflect.Interface || a.Kind() == reflect.Pointer {
		return false, false
	}
	a, b = pointerTo(a), pointerTo(b)
	for _, name := range []string{"Equal", "Cmp"} {
		method := a.MethodByName(name)
		if !method.IsValid() || method.Type().NumIn() != 1 || method.Type().NumOut() != 1 {
			continue
		}
		other := b
		if method.Type().In(0) == b.Type().Elem() {
			other = b.Elem()
		} else if method.Type().In(0) != b.Type() {
			continue
		}
		switch result := method.Call([]reflect.Value{other})[0]; result.Kind() {
		case reflect.Bool:
			return result.Bool(), true
		case reflect.Int:
			return result.Int() == 0, true
		}
	}
	return byText(a, b)
}

// byText compares the texts of what two pointers to structs point to.
func byText(a, b reflect.Value) (same, known bool) {
	if a.Elem().Kind() != reflect.Struct {
		return false, false
	}
	for _, f := range reflect.VisibleFields(a.Elem().Type()) {
		if f.IsExported() {
			return false, false
		}
	}
	text, ok := reflect.TypeAssert[encoding.TextMarshaler](a)
	if !ok {
		return false, false
	}
	other, _ := reflect.TypeAssert[encoding.TextMarshaler](b)
	x, errX := text.MarshalText()
	y, errY := other.MarshalText()
	return errX == nil && errY == nil && bytes.Equal(x, y), true
}

// pointerTo returns a pointer to v, or to a copy of it.
func pointerTo(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v.Addr()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// describe returns the type of v and how v prints, as far as that is short.
func describe(v reflect.Value) string {
	const most = 100
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Slice, reflect.Map:
		if v.IsNil() {
			return fmt.Sprintf("a nil %v", v.Type())
		}
	}
	text := fmt.Sprintf("%v %v", v.Type(), v)
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
