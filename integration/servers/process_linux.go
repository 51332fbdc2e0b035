package servers

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// endWithParent makes the system kill a child whose parent died without
// stopping it.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// endWithParentAs is endWithParent for a child that runs as another user.
func endWithParentAs(name string) (*syscall.SysProcAttr, error) {
	uid, gid, err := idsOf(name)
	attr := endWithParent()
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, err
}

// giveTo gives a directory to a user of the system, if this process may.
func giveTo(name, dir string) error {
	if name == "" || os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := idsOf(name)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}

func idsOf(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("servers: %w", err)
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, fmt.Errorf("servers: %w", err)
	}
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		return 0, 0, fmt.Errorf("servers: %w", err)
	}
	return uid, gid, nil
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
