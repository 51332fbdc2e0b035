// Command nearbus looks into a fleet of servers that use nearbus, and invalidates by hand.
//
//	go install github.com/nearbus/nearbus/bus/cmd/nearbus@latest
//
//	export NEARBUS_STORE=redis://localhost:6379 NEARBUS_NAMESPACE=shop
//	nearbus nodes                     # who is there
//	nearbus invalidate users 42       # in the shared tier and on every server
//	nearbus tail                      # what the servers tell each other
//	nearbus doctor                    # what is not set up as it should be, and what to change
//
// It is a guest of the fleet: nobody counts it among the servers, or waits for it. The page
// docs/command.md describes all subcommands; so does nearbus help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
)

// Exit codes of all commands but doctor, whose codes are those of Nagios.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	logging.Disable() // go-redis prints each dial that fails; the errors say what matters
	// A closed terminal and a closed pipe end the program as Ctrl-C does: with a goodbye, or
	// the servers would take it for one that died. A second signal ends it at once. The signal of
	// a pipe may be that of a connection, so a write that fails tells of a closed output. Under
	// nohup the terminal may close.
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop)
	signal.Ignore(syscall.SIGPIPE)
	ctx, closed := context.WithCancel(ctx)
	os.Exit(run(ctx, os.Args[1:], &console{
		in: os.Stdin, out: &outlet{os.Stdout, closed}, err: &outlet{os.Stderr, closed}, env: os.Getenv,
	}))
}

// outlet is an output that may be closed.
type outlet struct {
	to     io.Writer
	closed func() // is called when it is
}

// Write implements [io.Writer].
func (o *outlet) Write(p []byte) (n int, err error) {
	if n, err = o.to.Write(p); err != nil {
		o.closed()
	}
	return n, err
}

// console is what the program is connected to.
type console struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
}

// printf writes to the output. Where that was closed, the program ends.
func (c *console) printf(format string, args ...any) { _, _ = fmt.Fprintf(c.out, format, args...) }

// notef writes beside the output.
func (c *console) notef(format string, args ...any) { _, _ = fmt.Fprintf(c.err, format, args...) }

// usageError is an error in what was typed.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// coded is an error with an exit code of its own. Its text may be empty.
type coded struct {
	code int
	text string
}

func (c coded) Error() string { return c.text }

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, c *console) int {
	name := "help"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if code, done := runBuiltin(name, args, c); done {
		return code
	}
	cmd := commandNamed(name)
	if cmd == nil {
		c.notef("nearbus: there is no command %q; see nearbus help\n", name)
		return exitUsage
	}
	inv, err := cmd.parse(args, c)
	if err == nil && inv.help {
		cmd.help(c.out)
		return 0
	}
	if err == nil {
		err = cmd.run(ctx, inv)
	}
	return exitCode(ctx, cmd, c, err)
}

// exitCode tells of err, and returns the code for it.
func exitCode(ctx context.Context, cmd *command, c *console, err error) int {
	var usage usageError
	var own coded
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		if own.text != "" {
			c.notef("nearbus %s: %s\n", cmd.name, own.text)
		}
		return own.code
	case errors.As(err, &usage):
		text := err.Error() + "; see"
		if strings.HasSuffix(err.Error(), "?") {
			text = err.Error() + " See"
		}
		c.notef("nearbus %s: %s nearbus help %s\n", cmd.name, text, cmd.name)
		return cmd.usageCode
	case ctx.Err() != nil:
		c.notef("nearbus %s: interrupted\n", cmd.name)
		return exitInterrupted
	}
	c.notef("nearbus %s: %v\n", cmd.name, err)
	return cmd.failCode
}
