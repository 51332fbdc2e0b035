package nearcache

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// values knows what the values of a cache are: how they are encoded and copied, and what the
// near tier keeps of them.
type values[V any] struct {
	base
	with Options[V] // for its functions; opts has all others
}

// validateCodecs checks that an ID says which codec of o reads a record.
func (o *plain) validateCodecs() error {
	codecs := o.ReadCodecs
	if o.Codec != nil {
		codecs = append([]shared.Codec{o.Codec}, codecs...)
	} else {
		codecs = append([]shared.Codec{shared.JSON}, codecs...)
	}
	ids := make([]uint8, len(codecs))
	for i, codec := range codecs {
		name := "Codec"
		if i > 0 {
			name = fmt.Sprintf("ReadCodecs[%d]", i-1)
		}
		if codec == nil {
			return fmt.Errorf("nearcache: Options.%s is nil", name)
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

// inspect returns the fields of a type that the codec does not store, as far as it knows types.
// The error says that it stores no value of that type that can be read back.
func (b *base) inspect(of reflect.Type) (dropped []string, err error) {
	inspector, ok := b.opts.Codec.(shared.Inspector)
	if !ok || b.node.Tier == nil {
		return nil, nil
	}
	err = guard(callbackCodec, "", func(*PanicError) {}, func() (err error) {
		dropped, err = inspector.Inspect(of)
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
func (o *plain) reader(r *driver.Record) shared.Codec {
	if r.Schema != o.SchemaVersion {
		return nil
	}
	if o.Codec.ID() == r.Codec {
		return o.Codec
	}
	for _, codec := range o.ReadCodecs {
		if codec.ID() == r.Codec {
			return codec
		}
	}
	return nil
}

// largeValue is how long an encoded value is that a value may be made of without a copy. What
// was read holds the header of the record as well. Below, both together could take a size of
// memory that is much larger than the next smaller one, while the copy costs little.
const largeValue = 16 << 10

// decode returns an entry that has the key and the value of a record and nothing
// else yet, or an error if it reads as a miss. last says that nobody decodes the record again
// once the entry is given to anybody: the value may be made of its bytes, see [shared.Aliaser].
func (c *values[V]) decode(key string, found *shared.Found, last bool) (*entry[V], error) {
	if found.Err != nil {
		return nil, found.Err
	}
	if found.Kind != driver.KindValue || c.keys.Cleared(found) {
		return nil, coherence.ErrUnusable
	}
	codec := c.opts.reader(&found.Record)
	if codec == nil {
		c.foreign(key, foreignFormat, found)
		return nil, coherence.ErrUnusable
	}
	e := newNamed[V](key)
	err := c.guard(callbackCodec, key, func() error {
		if last && len(found.Value) >= largeValue {
			if alias, ok := codec.(shared.Aliaser); ok {
				return alias.UnmarshalAlias(found.Value, &e.value)
			}
		}
		return codec.Unmarshal(found.Value, &e.value)
	})
	if err != nil {
		c.foreign(key, foreignType, found)
		return nil, err
	}
	return e, nil
}

// encode encodes the value of key for the shared tier. The result may be memory of v: it is not
// changed, and is copied into a record before v is given to anybody.
func (c *values[V]) encode(key string, v V) (data []byte, err error) {
	err = c.guard(callbackCodec, key, func() (err error) {
		if alias, ok := c.opts.Codec.(shared.Aliaser); ok {
			data, err = alias.MarshalAlias(v)
		} else {
			data, err = c.opts.Codec.Marshal(v)
		}
		return err
	})
	if err != nil {
		if c.unencodable.Add(1) == 1 { // the error of a codec may carry the value
			c.node.Options.Logger.Warn("nearcache: a value cannot be encoded, and is not cached",
				"cache", c.keys.Name, "type", fmt.Sprintf("%T", v), "codec", c.opts.Codec.ID())
		}
		return nil, fmt.Errorf("%w: cache %q: %w", ErrEncode, c.keys.Name, err)
	}
	return data, nil
}

// Why a record cannot be read.
const (
	foreignFormat = "it has another codec or schema: another version of this program wrote it, or another program " +
		"with a cache of this name in the namespace"
	foreignType = "the codec refuses it: it may be of another type, or be a value that its codec writes and does not read"
)

// foreign counts a record that this cache cannot read, and logs the first. What the codec
// said of it may carry the value.
func (b *base) foreign(key, reason string, found *shared.Found) {
	if b.undecodable.Add(1) > 1 {
		return
	}
	b.node.Options.Logger.Warn("nearcache: a record that this cache cannot read is a miss",
		"cache", b.keys.Name, "key", key, "reason", reason,
		"codec", found.Codec, "schema", found.Schema, "own_codec", b.keys.Options.Codec, "own_schema", b.keys.Options.Schema)
}

// warnDropped logs the fields of the type that the codec does not store: the node that
// loads a value has them, all others have none.
func (b *base) warnDropped(of reflect.Type, dropped []string) {
	if len(dropped) == 0 {
		return
	}
	b.node.Options.Logger.Warn("nearcache: the codec does not store all fields of the type: other nodes get values without them",
		"cache", b.keys.Name, "type", of.String(), "codec", b.opts.Codec.ID(), "fields", strings.Join(dropped, ", "))
}

// give returns v, the value of key, as a caller may have it: its own copy, with Options.Clone.
func (c *values[V]) give(key string, v V) (V, error) {
	if c.with.Clone == nil {
		return v, nil
	}
	return c.clone(key, v)
}

// clone calls Options.Clone.
func (c *values[V]) clone(key string, v V) (own V, err error) {
	err = c.guard(callbackClone, key, func() error {
		own = c.with.Clone(v)
		return nil
	})
	if err != nil {
		return *new(V), fmt.Errorf("nearcache: cache %q: clone: %w", c.keys.Name, err)
	}
	return own, nil
}
