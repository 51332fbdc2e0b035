package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// trace is a sequence of reads. Keys are numbered in the order of their first read.
type trace struct {
	name  string
	reads []uint32
	keys  []string // by number, of 16 bytes
}

func newTrace(name string, reads []uint32) *trace {
	t := &trace{name: name, reads: make([]uint32, len(reads))}
	numbers := map[uint32]uint32{}
	for i, read := range reads {
		number, ok := numbers[read]
		if !ok {
			number = uint32(len(numbers))
			numbers[read] = number
			t.keys = append(t.keys, fmt.Sprintf("user:%011d", read))
		}
		t.reads[i] = number
	}
	return t
}

// readTrace reads at most limit reads of a file.
func readTrace(path string, limit int) (*trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name, in := filepath.Base(path), io.Reader(f)
	if trimmed, compressed := strings.CutSuffix(name, ".zst"); compressed {
		decoder, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		defer decoder.Close()
		name, in = trimmed, decoder
	}
	data, err := io.ReadAll(io.LimitReader(in, 4*int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	reads := make([]uint32, len(data)/4)
	for i := range reads {
		reads[i] = binary.BigEndian.Uint32(data[4*i:])
	}
	return newTrace(strings.TrimSuffix(name, ".u32be"), reads), nil
}

const builtInKeys = 100_000

// builtIn are the traces that need no file, each of as many reads as asked for.
var builtIn = []struct {
	name string
	make func(reads int) []uint32
}{
	{"zipf", func(n int) []uint32 { return collect(n, zipf(1.01, builtInKeys)) }},
	{"drift", drift},
	{"scan", func(n int) []uint32 { return collect(n, scans(true)) }},
	{"noscan", func(n int) []uint32 { return collect(n, scans(false)) }},
	{"loop", func(n int) []uint32 { return collect(n, loop) }},
}

func collect(n int, read func(i int) uint32) []uint32 {
	reads := make([]uint32, n)
	for i := range reads {
		reads[i] = read(i)
	}
	return reads
}

// zipf reads some keys much more often than others.
func zipf(s float64, keys uint64) func(int) uint32 {
	z := rand.NewZipf(rand.New(rand.NewSource(1)), s, 1, keys-1)
	return func(int) uint32 { return uint32(z.Uint64()) }
}

// drift is Zipf over keys whose popularity moves on: every 20 reads, each key takes the
// place of a neighbour.
func drift(n int) []uint32 {
	popular := zipf(1.01, builtInKeys)
	return collect(n, func(i int) uint32 {
		return uint32((uint64(popular(i))*7 + uint64(i)/20) % builtInKeys)
	})
}

// scans is Zipf over 20,000 keys, which after each 50,000 reads makes room for a scan of
// 20,000 keys that are read once. Without scans, the other reads are the same.
func scans(with bool) func(i int) uint32 {
	popular := zipf(1.1, 20_000)
	next := uint32(builtInKeys)
	return func(i int) uint32 {
		if with && i%70_000 >= 50_000 {
			next++
			return next
		}
		return popular(i)
	}
}

// loop reads 20,000 keys in turn, again and again.
func loop(i int) uint32 { return uint32(i % 20_000) }
