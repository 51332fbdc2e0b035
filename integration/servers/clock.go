package servers

import (
	_ "embed" // for the C source
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed clock/clock.c
var clockSource []byte

// clockAhead returns the environment of a process whose time of day is ahead by
// so much, or behind. What that takes is compiled into dir, by the C compiler
// that the race detector needs as well.
func clockAhead(dir string, d time.Duration) ([]string, error) {
	if d == 0 {
		return nil, nil
	}
	source, library, ahead := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so"), filepath.Join(dir, clockFile)
	if err := writeClock(ahead, d.Microseconds(), 0); err != nil {
		return nil, err
	}
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, out)
	}
	return []string{"LD_PRELOAD=" + library, "NEARBUS_CLOCK_FILE=" + ahead}, nil
}

// clockFile is where a process with another time of day is told how far ahead it is.
const clockFile = "clock.ahead"

// writeClock changes the file in its place: the process has it mapped.
func writeClock(name string, ahead, fixed int64) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	words := binary.NativeEndian.AppendUint64(nil, uint64(ahead))
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(words, uint64(fixed)), 0)
	return errors.Join(err, file.Close())
}

// SetClock makes the clock of a server ahead by so much while it runs. The server must
// have been started with a clock that is not right.
func (p *Process) SetClock(ahead time.Duration) error { return p.changeClock(ahead.Microseconds(), 0) }

// FixClock makes the clock of a server stand still at a time, to the microsecond. The
// server must have been started with a clock that is not right.
func (p *Process) FixClock(at time.Time) error { return p.changeClock(0, at.UnixMicro()) }

func (p *Process) changeClock(ahead, fixed int64) error {
	if _, err := os.Stat(filepath.Join(p.dir, clockFile)); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return writeClock(filepath.Join(p.dir, clockFile), ahead, fixed)
}
