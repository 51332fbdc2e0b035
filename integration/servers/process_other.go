//go:build !linux

package servers

import "syscall"

// endWithParent asks for nothing: other systems cannot tie a child to its
// parent.
func endWithParent() *syscall.SysProcAttr { return nil }

// endWithParentAs knows no other users.
func endWithParentAs(string) (*syscall.SysProcAttr, error) { return nil, nil }

func giveTo(string, string) error { return nil }

// suspended takes the signal's word for it.
func suspended(int) bool { return true }
