package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// program says how one kind of server is started and recognized.
type program struct {
	name string
	// variable of the environment that names another program; empty for none
	variable string
	args     func(port int, dir string) []string
	env      func(dir string) ([]string, error) // beside that of this process; nil for none
	// request makes the server print a line that begins with pidLabel and
	// goes on with its process id.
	request, pidLabel string

	// What other servers need besides.
	lingers string                                     // what it prints while processes of an earlier run are there yet
	dirs    []string                                   // where the program may be, beside PATH
	user    string                                     // of the system, to run as instead of root
	prepare func(ctx context.Context, as runner) error // before the first start

	// pid returns the process id of a server that is ready, instead of request. That of the
	// child which was started is given, for servers that only show in another way who they are.
	pid func(addr, dir string, child int) (pid int, err error)
}

// runner runs commands of a server to their ends, as its user and in its directory.
type runner struct {
	program program
	dir     string
}

func (r runner) run(ctx context.Context, name string, args ...string) error {
	path, err := r.program.find(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = r.dir
	if cmd.SysProcAttr, err = r.program.attributes(); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: %s: %w\n%s", name, err, out)
	}
	return nil
}

// nameOf returns the name of the program that a variable of the environment names, or the usual
// one.
func nameOf(variable, usual string) string {
	if given := os.Getenv(variable); given != "" {
		return filepath.Base(given)
	}
	return usual
}

// find returns the path of a program.
func (p program) find(name string) (string, error) {
	if given := os.Getenv(p.variable); given != "" {
		path, err := exec.LookPath(given)
		if err != nil {
			return "", fmt.Errorf("servers: %s names %q, which cannot be run: %w", p.variable, given, err)
		}
		return filepath.Abs(path) // the server runs in a directory of its own
	}
	path, err := exec.LookPath(name)
	for _, pattern := range p.dirs {
		found, _ := filepath.Glob(filepath.Join(pattern, name)) // the pattern is valid
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("servers: %s is not installed; run `make deps`: %w", name, err)
	}
	return path, nil
}

// attributes returns how a process of the program is started.
func (p program) attributes() (*syscall.SysProcAttr, error) {
	if p.user == "" || os.Geteuid() != 0 {
		return endWithParent(), nil
	}
	return endWithParentAs(p.user)
}
