package nearcache

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// validateCodecs checks that an ID says which codec of o reads a record.
func (o Options[V]) validateCodecs() error {
	codecs := o.AlsoRead
	if o.Codec != nil {
		codecs = append([]shared.Codec{o.Codec}, codecs...)
	} else {
		codecs = append([]shared.Codec{shared.JSON}, codecs...)
	}
	ids := make([]uint8, len(codecs))
	for i, codec := range codecs {
		name := "Codec"
		if i > 0 {
			name = fmt.Sprintf("AlsoRead[%d]", i-1)
		}
		if isNil(codec) {
			return fmt.Errorf("nearcache: Options.%s is a nil %T", name, codec)
		}
		err := guard(callbackCodec, "", func(*PanicError) {}, func() error {
			ids[i] = codec.ID()
			return nil
		})
		if err != nil {
			return fmt.Errorf("nearcache: Options.%s: ID: %w", name, err)
		}
		if slices.Contains(ids[:i], ids[i]) {
			return fmt.Errorf("nearcache: Options.%s has the ID %d, as another codec of the cache has", name, ids[i])
		}
	}
	return nil
}

// inspect returns the fields that the codec does not store, as far as it knows types.
// The error says that it stores no value of type V that can be read back.
func (c *Cache[V]) inspect() (dropped []string, err error) {
	inspector, ok := c.opts.Codec.(shared.Inspector)
	if !ok || c.node.tier == nil {
		return nil, nil
	}
	err = guard(callbackCodec, "", func(*PanicError) {}, func() (err error) {
		dropped, err = inspector.Inspect(reflect.TypeFor[V]())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("nearcache: Options.Codec: %w", err)
	}
	return dropped, nil
}

func isNil(codec shared.Codec) bool {
	v := reflect.ValueOf(codec)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// reader returns the codec that reads a record, or nil if the cache cannot.
func (o *Options[V]) reader(r *driver.Record) shared.Codec {
	if r.Schema != o.Schema {
		return nil
	}
	if o.Codec.ID() == r.Codec {
		return o.Codec
	}
	for _, codec := range o.AlsoRead {
		if codec.ID() == r.Codec {
			return codec
		}
	}
	return nil
}
