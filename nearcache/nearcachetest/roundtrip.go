package nearcachetest

import (
	"fmt"
	"testing"

	"github.com/nearbus/nearbus/shared"
)

// RoundTrip fails the test for each of values that does not come back from codec as it
// went in: then the server that loads a value answers with another one than all other
// servers do. V is the type of the cache. Nil is [shared.JSON], as in
// nearcache.Options.
//
//	nearcachetest.RoundTrip(t, cborcodec.New(), User{Name: "Ada", Born: born})
//
// Give each field something other than its zero value, or what is lost looks as it
// did. Values are compared field by field, those that are not exported too; what has a
// method Equal or Cmp by that, what has no exported field and is a text by that, and
// messages of Protocol Buffers as such. A nil slice or map is none without elements.
func RoundTrip[V any](t testing.TB, codec shared.Codec, values ...V) {
	t.Helper()
	if codec == nil {
		codec = shared.JSON
	}
	for i, v := range values {
		if err := roundTrip(codec, v); err != nil {
			t.Errorf("nearcachetest: value %d of %d: %v", i+1, len(values), err)
		}
	}
}

func roundTrip[V any](codec shared.Codec, v V) error {
	data, err := codec.Marshal(v)
	if err != nil {
		return fmt.Errorf("marshal %T: %w", v, err)
	}
	var got V
	if err := codec.Unmarshal(data, &got); err != nil {
		return fmt.Errorf("unmarshal %T: %w", v, err)
	}
	if e, ok := codec.(interface{ Equal(a, b any) bool }); ok {
		if !e.Equal(v, got) {
			return fmt.Errorf("%v went in, %v came back", v, got)
		}
		return nil
	}
	return firstDifference(&v, &got)
}
