package servers

import (
	_ "embed" // for the C source
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
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, out)
	}
	return []string{"LD_PRELOAD=" + library, fmt.Sprintf("NEARBUS_CLOCK_AHEAD=%d", d.Microseconds())}, nil
}
