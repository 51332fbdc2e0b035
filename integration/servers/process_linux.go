package servers

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// endWithParent makes the system kill a child whose parent died without
// stopping it.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// suspended reports whether the process stands still, or is gone.
func suspended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The state follows the name, which is in parentheses and may hold any byte.
	state := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return bytes.ContainsRune([]byte("TZX"), rune(state[0]))
}
