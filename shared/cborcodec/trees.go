package cborcodec

import (
	"bytes"
	"errors"
)

// emptyMap is the encoded form of a map without pairs.
const emptyMap = 0xa0

var errEmptied = errors.New("cborcodec: there is an empty map in the place of a text")

// refuseEmptied refuses what a version of this package stored that wrote an empty map
// in the place of what is kept by its text alone. Such a map is decoded without an
// error. v is what data was decoded into: where v has a text by now, data must not
// have had an empty map.
func (c *Codec) refuseEmptied(data []byte, v any) error {
	if bytes.IndexByte(data, emptyMap) < 0 {
		return nil
	}
	again, err := c.text.Marshal(v)
	if err != nil {
		return err
	}
	var before, after any
	if err := errors.Join(c.trees.Unmarshal(data, &before), c.trees.Unmarshal(again, &after)); err != nil {
		return err
	}
	if emptied(before, after) {
		return errEmptied
	}
	return nil
}

// emptied reports whether before has an empty map where after has a text.
func emptied(before, after any) bool {
	switch before := before.(type) {
	case map[any]any:
		if _, text := after.(string); text && len(before) == 0 {
			return true
		}
		after, _ := after.(map[any]any)
		for key, value := range before {
			if other, ok := after[key]; ok && emptied(value, other) {
				return true
			}
		}
	case []any:
		after, _ := after.([]any)
		for i := range min(len(before), len(after)) {
			if emptied(before[i], after[i]) {
				return true
			}
		}
	}
	return false
}

// unmarshalTree decodes data, which has maps whose keys are no text, into a value of
// any kind: those are of the type map[any]any, all others of map[string]any.
func (c *Codec) unmarshalTree(data []byte, tree *any) error {
	var v any
	if err := c.trees.Unmarshal(data, &v); err != nil {
		return err
	}
	*tree = named(v)
	return nil
}

// named makes a map[string]any of each map in v that has text for keys.
func named(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = named(v[i])
		}
	case map[any]any:
		all := make(map[string]any, len(v))
		for key, value := range v {
			v[key] = named(value)
			if name, text := key.(string); text {
				all[name] = v[key]
			}
		}
		if len(all) == len(v) {
			return all
		}
	}
	return v
}
