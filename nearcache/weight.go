package nearcache

import (
	"reflect"

	"github.com/nearbus/nearbus/nearcache/internal/heapsize"
	"github.com/nearbus/nearbus/shared"
)

const (
	// enoughSamples is how many samples have to be seen before it is told that the lengths of values
	// do not tell their sizes, and misled by how much an estimate is wrong then, as a part of
	// the size.
	enoughSamples = 64
	misled        = 0.5
)

// weigh returns about what a value takes of the heap beside its entry, by what samples took.
// encoded is the value as codec encodes it.
//
// A sample is decoded anew, so that nobody else has what is looked at: what callers have may
// change behind their own locks, where it is not encoded. It is decoded twice, which shows what
// is not its own.
func (b *base) weigh(encoded []byte, codec shared.Codec) int64 {
	if !b.points {
		return 0
	}
	sizes := b.sizes.Load()
	if sizes == nil {
		b.sizes.CompareAndSwap(nil, new(heapsize.Estimate))
		sizes = b.sizes.Load()
	}
	if sizes.Due(len(encoded)) {
		b.sample(sizes, encoded, codec)
	}
	return sizes.Size(len(encoded))
}

// sample learns what a value takes.
func (b *base) sample(sizes *heapsize.Estimate, encoded []byte, codec shared.Codec) {
	v, twin := reflect.New(b.of), reflect.New(b.of)
	for _, one := range []reflect.Value{v, twin} {
		err := guard(callbackCodec, "", func(*PanicError) {}, func() error { return codec.Unmarshal(encoded, one.Interface()) })
		if err != nil {
			return // it is told where it is read
		}
	}
	sizes.Learn(len(encoded), heapsize.Of(v.Elem(), twin.Elem()))
	b.tellOfSizes(sizes.Accuracy())
}

// tellOfSizes logs, once, that the sizes of values are not known well.
func (b *base) tellOfSizes(a heapsize.Accuracy) {
	if a.Samples < enoughSamples || a.Error < misled || b.toldOfSizes.Swap(true) {
		return
	}
	b.node.Options.Logger.Warn("nearcache: what values take of the heap differs too much for their encoded length to tell",
		"cache", b.keys.Name, "error", a.Error)
}

func (b *base) sizeInfo() SizeInfo {
	sizes := b.sizes.Load()
	if sizes == nil {
		return SizeInfo{}
	}
	return SizeInfo(sizes.Accuracy())
}
