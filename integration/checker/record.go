package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// moment is a time in nanoseconds on a clock that all processes of the machine
// share and that nobody sets.
type moment = int64

func now() moment {
	var ts unix.Timespec
	// Fails only for clocks that do not exist.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

type kind uint8

const (
	read   kind = iota // a value was returned
	failed             // a read returned an error
	acked              // a write returned nil
	gaveUp             // a write returned an error
	atRest             // a read after everything had come to rest
)

// record is one call of a process.
type record struct {
	kind       kind
	key        uint32
	version    int64
	start, end moment

	absent bool // the read was answered with that there is no value; version is not known before settle
	stale  bool // the read was answered with a value that is kept for when there is no other, and says so
}

const (
	absentFlag = 1 << 8 // beside the kind
	staleFlag  = 1 << 9
)

const recordSize = 32

func (r *record) append(b []byte) []byte {
	first := uint32(r.kind)
	if r.absent {
		first |= absentFlag
	}
	if r.stale {
		first |= staleFlag
	}
	b = binary.LittleEndian.AppendUint32(b, first)
	b = binary.LittleEndian.AppendUint32(b, r.key)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.version))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.start))
	return binary.LittleEndian.AppendUint64(b, uint64(r.end))
}

func parseRecord(b []byte) record {
	first := binary.LittleEndian.Uint32(b)
	return record{
		kind: kind(first), absent: first&absentFlag != 0, stale: first&staleFlag != 0, key: binary.LittleEndian.Uint32(b[4:]),
		version: int64(binary.LittleEndian.Uint64(b[8:])),
		start:   int64(binary.LittleEndian.Uint64(b[16:])), end: int64(binary.LittleEndian.Uint64(b[24:])),
	}
}

// journal is where a process writes down what it saw. What is lost when it is
// killed are calls that nobody learns of.
type journal struct {
	mu   sync.Mutex // protects the fields below
	file *os.File
	buf  []byte
}

const journalBuffer = 1 << 12

func (j *journal) add(r record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf = r.append(j.buf)
	if len(j.buf) >= journalBuffer || r.kind == acked || r.kind == gaveUp {
		j.flushLocked()
	}
}

func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flushLocked()
}

func (j *journal) flushLocked() {
	if _, err := j.file.Write(j.buf); err != nil {
		panic(fmt.Errorf("checker: cannot write down what happened: %w", err))
	}
	j.buf = j.buf[:0]
}

// readJournal returns what a process wrote down. A record that a kill cut in
// two is left out.
func readJournal(name string) ([]record, error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	records := make([]record, 0, len(data)/recordSize)
	for ; len(data) >= recordSize; data = data[recordSize:] {
		records = append(records, parseRecord(data))
	}
	return records, nil
}
