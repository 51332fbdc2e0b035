package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// source is the truth: a version for each key, in memory that all processes
// share. It survives every one of them.
type source struct {
	versions []atomic.Int64
}

const versionSize = int(unsafe.Sizeof(atomic.Int64{}))

// createSource makes the file behind a source of this many keys.
func createSource(name string, keys int) error {
	if err := os.WriteFile(name, make([]byte, keys*versionSize), 0o600); err != nil {
		return fmt.Errorf("checker: source: %w", err)
	}
	return nil
}

func openSource(name string, keys int) (*source, error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("checker: source: %w", err)
	}
	defer func() { _ = file.Close() }() // The mapping stays.
	memory, err := unix.Mmap(int(file.Fd()), 0, keys*versionSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("checker: source: %w", err)
	}
	return &source{versions: unsafe.Slice((*atomic.Int64)(unsafe.Pointer(&memory[0])), keys)}, nil
}

// latest returns the version of every key.
func latest(name string) ([]int64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("checker: source: %w", err)
	}
	versions := make([]int64, len(data)/versionSize)
	for i := range versions {
		versions[i] = int64(binary.NativeEndian.Uint64(data[i*versionSize:]))
	}
	return versions, nil
}

func (s *source) commit(key uint32) (version int64) { return s.versions[key].Add(1) }

func (s *source) load(key uint32) (version int64) { return s.versions[key].Load() }
