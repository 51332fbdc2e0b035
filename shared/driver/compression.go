package driver

// What the record says of its compression.
const (
	CompressionNone uint8 = 0
	CompressionZstd uint8 = 1
	CompressionS2   uint8 = 2
	CompressionOwn  uint8 = 3 // a compressor that is not of this library
)

// compressionMask are the bits of the flags that say so.
const compressionMask = 3
