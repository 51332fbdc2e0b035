package shared

import (
	"fmt"
	"math"
	"reflect"

	"github.com/nearbus/nearbus/shared/driver"
)

// Compressor makes values smaller in the store. Its methods may be called from
// many goroutines at once and must not keep or change what they are given. A
// panic becomes an error. The package compress has implementations.
type Compressor interface {
	// ID names what Compress returns, in every record: CompressionZstd,
	// CompressionS2 or CompressionOwn. It is the same at each call.
	ID() uint8

	// Compress returns data in a form that Decompress reads. It may be longer;
	// the Tier then stores data as it is.
	Compress(data []byte) ([]byte, error)

	// Decompress returns what data, made by the compressor of this ID, was
	// before. It meets whatever is in the store: it must return an error for
	// what it cannot read, and for what has more than limit bytes, and must not
	// take up much more memory than limit.
	Decompress(id uint8, data []byte, limit int) ([]byte, error)
}

// defaultCompressOver is the default of Options.CompressOver.
const defaultCompressOver = 1 << 10

func (o Options) validateCompression() error {
	if o.CompressOver < 0 {
		return fmt.Errorf("shared: Options.CompressOver is negative: %d", o.CompressOver)
	}
	if o.Compress == nil {
		if o.CompressOver > 0 {
			return fmt.Errorf("shared: Options.CompressOver is %d, but there is no Options.Compress", o.CompressOver)
		}
		return nil
	}
	if v := reflect.ValueOf(o.Compress); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("shared: Options.Compress is a nil %T", o.Compress)
	}
	var id uint8
	err := guard(func() error {
		id = o.Compress.ID()
		return nil
	})
	if err != nil {
		return fmt.Errorf("shared: Options.Compress: %w", err)
	}
	if id < driver.CompressionZstd || id > driver.CompressionOwn {
		return fmt.Errorf("shared: Options.Compress has the ID %d, not 1 to 3", id)
	}
	return nil
}

// limit sets the limits of values and of what is stored.
func (t *Tier) limit() {
	t.maxValue, t.maxStored = t.opts.MaxValue, math.MaxInt
	if n := t.store.MaxImage(); n > 0 {
		t.maxStored = n - driver.HeaderSize
	}
	if t.opts.Compress == nil {
		t.maxValue = min(t.maxValue, t.maxStored)
	}
}

// Fits returns nil for a record, with its encoded value, that can be stored. Otherwise
// the error wraps [ErrTooLarge], or is that of the compressor.
func (t *Tier) Fits(r *driver.Record) error {
	value, extra := r.Value, r.Extension()
	if n := len(value) + extra; n > t.maxValue {
		return fmt.Errorf("%w: %d bytes, more than %d", ErrTooLarge, n, t.maxValue)
	}
	if len(value)+extra <= t.maxStored {
		return nil
	}
	packed, _, err := t.pack(value)
	if err == nil && len(packed)+extra > t.maxStored {
		return fmt.Errorf("%w: %d bytes compressed, more than %d", ErrTooLarge, len(packed)+extra, t.maxStored)
	}
	return err
}

// pack returns value as it is to be stored, and how it is compressed.
func (t *Tier) pack(value []byte) (packed []byte, compression uint8, err error) {
	c := t.opts.Compress
	if c == nil || len(value) < t.opts.CompressOver {
		return value, driver.CompressionNone, nil
	}
	err = guard(func() (err error) {
		packed, err = c.Compress(value)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("shared: compress %d bytes: %w", len(value), err)
	}
	if len(packed) >= len(value) {
		return value, driver.CompressionNone, nil
	}
	return packed, c.ID(), nil
}

// unpack returns the value of a record that was found.
func (t *Tier) unpack(r *driver.Record) (value []byte, err error) {
	switch {
	case len(r.Value) > t.maxValue:
		return nil, fmt.Errorf("%w: %d bytes, more than %d", driver.ErrCorrupt, len(r.Value), t.maxValue)
	case r.Compression == driver.CompressionNone:
		return r.Value, nil
	case t.opts.Compress == nil:
		return nil, fmt.Errorf("%w: it is compressed, and there is no Options.Compress", driver.ErrCorrupt)
	}
	err = guard(func() (err error) {
		value, err = t.opts.Compress.Decompress(r.Compression, r.Value, t.maxValue)
		return err
	})
	if err == nil && len(value) > t.maxValue {
		err = fmt.Errorf("%d bytes, more than %d", len(value), t.maxValue)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", driver.ErrCorrupt, err)
	}
	return value, nil
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}
