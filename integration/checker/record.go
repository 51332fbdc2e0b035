package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/nearbus/nearbus/integration/history"
)

// record is one call of a process.
type record = history.Record

// now is the time on a clock that all processes of the machine share and that nobody
// sets.
func now() history.Moment {
	var ts unix.Timespec
	// Fails only for clocks that do not exist.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

const (
	absentFlag = 1 << 8 // beside the kind
	staleFlag  = 1 << 9
)

const recordSize = 32

func appendRecord(b []byte, r *record) []byte {
	first := uint32(r.Kind)
	if r.Absent {
		first |= absentFlag
	}
	if r.Stale {
		first |= staleFlag
	}
	b = binary.LittleEndian.AppendUint32(b, first)
	b = binary.LittleEndian.AppendUint32(b, r.Key)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Version))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Start))
	return binary.LittleEndian.AppendUint64(b, uint64(r.End))
}

func parseRecord(b []byte) record {
	first := binary.LittleEndian.Uint32(b)
	return record{
		Kind: history.Kind(first), Absent: first&absentFlag != 0, Stale: first&staleFlag != 0, Key: binary.LittleEndian.Uint32(b[4:]),
		Version: int64(binary.LittleEndian.Uint64(b[8:])),
		Start:   int64(binary.LittleEndian.Uint64(b[16:])), End: int64(binary.LittleEndian.Uint64(b[24:])),
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
	j.buf = appendRecord(j.buf, &r)
	if len(j.buf) >= journalBuffer || r.Kind == history.Acked || r.Kind == history.GaveUp {
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
