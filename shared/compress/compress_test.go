package compress_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/compress"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

var both = map[string]*compress.Compressor{"S2": compress.S2(), "zstd": compress.Zstd()}

// TestCompressor_Golden: what one version stores, the next must read.
func TestCompressor_Golden(t *testing.T) {
	want := []byte(strings.Repeat("Ada Lovelace, ", 20))
	for name, c := range map[string]struct {
		id     uint8
		golden string
	}{
		"zstd": {1, "28b52ffd601800b5000070416461204c6f76656c6163652c2001540e042c0711"},
		"S2":   {2, "980234416461204c6f76656c6163652c20110e1500fa"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.id, both[name].ID())
			data, err := both[name].Compress(want)
			require.NoError(t, err)
			assert.Less(t, len(data), len(want)/2)
			golden, err := hex.DecodeString(c.golden)
			require.NoError(t, err)
			for _, reader := range both {
				got, err := reader.Decompress(c.id, golden, 1000)
				require.NoError(t, err, "it is now %x", data)
				assert.Equal(t, string(want), string(got))
			}
		})
	}
}

func TestCompressor_RoundTrip(t *testing.T) {
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	for _, want := range [][]byte{{}, {0}, noise, bytes.Repeat(noise[:1000], 1000), make([]byte, 3<<20)} {
		for name, writer := range both {
			data, err := writer.Compress(want)
			require.NoError(t, err)
			if len(want) == 0 && writer.ID() == driver.CompressionZstd {
				continue // has no frame, and is never compressed
			}
			for _, reader := range both {
				got, err := reader.Decompress(writer.ID(), data, len(want))
				require.NoError(t, err, "%s, %d bytes", name, len(want))
				assert.True(t, bytes.Equal(want, got), "%s, %d bytes", name, len(want))
				if len(want) > 0 {
					_, err = reader.Decompress(writer.ID(), data, len(want)-1)
					require.Error(t, err, "the limit is exact")
				}
			}
		}
	}
}

// bombs are small and want to become large.
func bombs(t testing.TB) map[string]struct {
	id   uint8
	data []byte
} {
	t.Helper()
	const size = 256 << 20
	zeros := make([]byte, size)
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	honest := encoder.EncodeAll(zeros, nil)
	var header zstd.Header
	require.NoError(t, header.Decode(honest))
	require.EqualValues(t, size, header.FrameContentSize)

	var unsized bytes.Buffer
	stream, err := zstd.NewWriter(&unsized, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	_, err = stream.Write(zeros)
	require.NoError(t, err)
	require.NoError(t, stream.Close())

	small := encoder.EncodeAll(zeros[:4096], nil)
	liar := bytes.Clone(honest)
	at := bytes.Index(liar, binary.LittleEndian.AppendUint32(nil, size))
	require.Positive(t, at)
	binary.LittleEndian.PutUint32(liar[at:], 4096)

	s2Honest := s2.Encode(nil, zeros)
	s2Liar := append(binary.AppendUvarint(nil, 4096), s2Honest[len(binary.AppendUvarint(nil, size)):]...)
	return map[string]struct {
		id   uint8
		data []byte
	}{
		"zstd":                        {1, honest},
		"zstd without a size":         {1, unsized.Bytes()},
		"zstd with a false size":      {1, liar},
		"zstd of many frames":         {1, bytes.Repeat(small, 1000)},
		"zstd that says much":         {1, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0}},
		"S2":                          {2, s2Honest},
		"S2 with a false size":        {2, s2Liar},
		"S2 that says much":           {2, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}},
		"S2 that says more than fits": {2, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}},
	}
}

// TestCompressor_Bombs: a few bytes in the store cannot take up the memory of
// whoever reads them.
func TestCompressor_Bombs(t *testing.T) {
	const limit = 1 << 20
	for name, bomb := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			for _, reader := range both {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := reader.Decompress(bomb.id, bomb.data, limit)
				runtime.ReadMemStats(&after)
				require.Error(t, err)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*limit))
			}
		})
	}
}

// TestTier_Bombs: likewise for a whole record, which reads as a miss.
func TestTier_Bombs(t *testing.T) {
	store := memstore.New(memstore.Options{})
	tier, err := shared.New(store, shared.Options{Compress: compress.S2()})
	require.NoError(t, err)
	for name, bomb := range bombs(t) {
		r := driver.Record{Kind: driver.KindValue, Compression: bomb.id, Nonce: 1, Value: bomb.data}
		require.NoError(t, store.Write(t.Context(), []driver.Write{{Key: name, Image: r.Append(nil)}})[0].Err)
		before := tier.Stats().Undecodable
		_, err := tier.Get(t.Context(), name)
		require.ErrorIs(t, err, shared.ErrNotFound, name)
		assert.Equal(t, before+1, tier.Stats().Undecodable, name)
	}
}

func TestCompressor_Refuses(t *testing.T) {
	for name, c := range both {
		for _, data := range []string{"", "x", "\x28\xb5\x2f\xfd", strings.Repeat("x", 1000)} {
			for id := range uint8(5) {
				_, err := c.Decompress(id, []byte(data), 1000)
				require.Error(t, err, "%s %d %q", name, id, data)
			}
		}
	}
}

// TestTier_EitherReadsBoth: a fleet can change from one to the other.
func TestTier_EitherReadsBoth(t *testing.T) {
	store := memstore.New(memstore.Options{})
	want := strings.Repeat("Ada Lovelace, ", 1000)
	tiers := map[string]*shared.Tier{}
	for name, c := range both {
		tier, err := shared.New(store, shared.Options{Compress: c})
		require.NoError(t, err)
		require.NoError(t, tier.Set(t.Context(), name, []byte(want), 0))
		tiers[name] = tier
	}
	for _, tier := range tiers {
		for name := range both {
			got, err := tier.Get(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, want, string(got))
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, c := range both {
		data, err := c.Compress([]byte(strings.Repeat("Ada Lovelace, ", 20)))
		require.NoError(f, err)
		f.Add(c.ID(), data)
		f.Add(c.ID(), data[:len(data)/2])
	}
	c := both["S2"]
	f.Fuzz(func(t *testing.T, id uint8, data []byte) {
		const limit = 1 << 16
		got, err := c.Decompress(id%4, data, limit)
		if err == nil {
			assert.LessOrEqual(t, len(got), limit)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	text := []byte(strings.Repeat(`{"id":42,"name":"Ada Lovelace","tags":["math","poetry"],"balance":1234.5},`, 200))
	for name, c := range both {
		packed, err := c.Compress(text)
		require.NoError(b, err)
		b.Run(name+" compress", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportMetric(float64(len(text))/float64(len(packed)), "ratio")
			for b.Loop() {
				_, _ = c.Compress(text)
			}
		})
		b.Run(name+" decompress", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				_, _ = c.Decompress(c.ID(), packed, len(text))
			}
		})
	}
}
