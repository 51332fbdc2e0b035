// Package compress has the compressors for [shared.Options].Compress, made by
// klauspost/compress.
//
//	tier, err := shared.New(store, shared.Options{Compress: compress.S2()})
//
// [S2] costs little: choose S2 when the network or the memory of the store is short.
// [Zstd] makes values smaller and costs several times as much. Each reads the values of
// both. Hence a fleet can change from one to the other at any time. A fleet begins to
// compress in two steps: first every process learns to read, with Options.CompressOver
// at math.MaxInt, then the processes write.
package compress

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

var (
	errTooLarge = errors.New("compress: larger than the limit")
	errNoSize   = errors.New("compress: zstd frame does not tell its size")
)

// Compressor is a [shared.Compressor] for S2 and Zstandard. It is safe for use
// by many goroutines and has none of its own.
type Compressor struct {
	id      uint8
	encoder *zstd.Encoder // nil for S2
	decoder *zstd.Decoder
}

var _ shared.Compressor = (*Compressor)(nil)

// S2 returns a compressor that writes S2, an extension of Snappy.
func S2() *Compressor { return &Compressor{id: driver.CompressionS2, decoder: newDecoder()} }

// Zstd returns a compressor that writes Zstandard (RFC 8878).
func Zstd() *Compressor {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderCRC(false), // records have one
		zstd.WithSingleSegment(true),
	)
	if err != nil {
		panic("compress: " + err.Error()) // the options above are constant
	}
	return &Compressor{id: driver.CompressionZstd, encoder: encoder, decoder: newDecoder()}
}

func newDecoder() *zstd.Decoder {
	decoder, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("compress: " + err.Error()) // the options above are constant
	}
	return decoder
}

// ID returns [driver.CompressionS2] or [driver.CompressionZstd].
func (c *Compressor) ID() uint8 { return c.id }

// Compress returns data compressed.
func (c *Compressor) Compress(data []byte) ([]byte, error) {
	if c.encoder == nil {
		return s2.Encode(nil, data), nil
	}
	return c.encoder.EncodeAll(data, nil), nil
}

// Decompress returns what was compressed, whichever of the two wrote it. It
// allocates what the data says that it needs, if that is within the limit.
func (c *Compressor) Decompress(id uint8, data []byte, limit int) ([]byte, error) {
	switch id {
	case driver.CompressionS2:
		n, err := s2.DecodedLen(data)
		if err != nil {
			return nil, err
		}
		if n > limit {
			return nil, errTooLarge
		}
		return s2.Decode(nil, data)
	case driver.CompressionZstd:
		n, err := zstdSize(data)
		if err != nil {
			return nil, err
		}
		if n > uint64(limit) {
			return nil, errTooLarge
		}
		return c.decoder.DecodeAll(data, make([]byte, 0, n)) // no more than fits
	}
	return nil, fmt.Errorf("compress: no compression has the number %d here", id)
}

// zstdSize returns the size that the frame says it has when decompressed.
func zstdSize(data []byte) (uint64, error) {
	var header zstd.Header
	if err := header.Decode(data); err != nil {
		return 0, err
	}
	if !header.HasFCS {
		return 0, errNoSize
	}
	return header.FrameContentSize, nil
}
