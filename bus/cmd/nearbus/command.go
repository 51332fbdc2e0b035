package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// command is a subcommand.
type command struct {
	name, args, summary string
	about               string
	examples            []string
	formats             []string
	flags               func(*flag.FlagSet, *invocation) // beside those of all; may be nil
	run                 func(context.Context, *invocation) error

	failCode, usageCode int
}

// invocation is one call of a command.
type invocation struct {
	*console
	args []string
	help bool

	connection
	format  string
	quiet   bool
	timeout time.Duration

	// Flags of some commands.
	cache   string
	count   int
	wait    time.Duration
	force   bool
	atLeast int
	value   bool
	tags    string
}

// commands returns all, in the order in which help lists them.
func commands() []*command {
	all := []*command{
		tailCommand(), nodesCommand(),
		invalidateCommand(), tagsCommand(), deleteCommand(), clearCommand(),
		inspectCommand(), doctorCommand(),
	}
	for _, c := range all {
		if c.formats == nil {
			c.formats = []string{"text", "json"}
		}
		if c.failCode == 0 {
			c.failCode, c.usageCode = exitFailed, exitUsage
		}
	}
	return all
}

func commandNamed(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// flagSet returns the flags of a command, which set inv.
func (c *command) flagSet(inv *invocation) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	inv.addresses(fs)
	fs.StringVar(&inv.format, "format", c.formats[0], "what to print: "+strings.Join(c.formats, ", "))
	fs.BoolVar(&inv.quiet, "quiet", false, "print no progress")
	fs.DurationVar(&inv.timeout, "timeout", 10*time.Second, "give up after this `time`")
	if c.flags != nil {
		c.flags(fs, inv)
	}
	return fs
}

// variable returns the variable of the environment that stands for a flag.
func variable(flag string) string { return "NEARBUS_" + strings.ToUpper(flag) }

// shared says which flags have a variable.
var sharedFlags = []string{"store", "bus", "namespace", "partitions", "timeout", "format", "ca", "cert", "key", "creds"}

// parse reads what was typed. Flags may come after arguments, up to "--".
func (c *command) parse(args []string, con *console) (*invocation, error) {
	inv := &invocation{console: con}
	fs := c.flagSet(inv)
	if err := c.fromEnvironment(fs, con.env); err != nil {
		return nil, err
	}
	if err := inv.typed(fs, args); err != nil || inv.help {
		return inv, err
	}
	switch {
	case !slices.Contains(c.formats, inv.format):
		return nil, usagef("-format is %q, not one of %s", inv.format, strings.Join(c.formats, ", "))
	case inv.timeout <= 0:
		return nil, usagef("-timeout is %v, not positive", inv.timeout)
	}
	return inv, nil
}

// fromEnvironment sets flags that have a variable.
func (c *command) fromEnvironment(fs *flag.FlagSet, env func(string) string) error {
	for _, name := range sharedFlags {
		value := env(variable(name))
		if value == "" || name == "format" && !slices.Contains(c.formats, value) { // it is that of another command
			continue
		}
		if fs.Set(name, value) != nil {
			return usagef("%s has no valid value", variable(name))
		}
	}
	return nil
}

// typed sets flags and arguments from what was typed.
func (inv *invocation) typed(fs *flag.FlagSet, args []string) error {
	for len(args) > 0 {
		ended := args[0] == "--"
		err := fs.Parse(args)
		if err == flag.ErrHelp { //nolint:errorlint // Parse returns it as it is.
			inv.help = true
			return nil
		}
		if err != nil {
			return usageError{secretless(fs, err)}
		}
		rest := fs.Args()
		if ended || len(args) > len(rest) && args[len(args)-len(rest)-1] == "--" {
			inv.args = append(inv.args, rest...)
			break
		}
		if len(rest) > 0 {
			inv.args, rest = append(inv.args, rest[0]), rest[1:]
		}
		args = rest
	}
	return nil
}

// secretless returns an error of the flag package without the value that was refused, which
// may have a password in it.
func secretless(fs *flag.FlagSet, err error) error {
	text := err.Error()
	if _, name, found := strings.Cut(text, " for flag "); found {
		name, _, _ = strings.Cut(name, ":")
		return fmt.Errorf("the value of %s is not valid%s", name, wanted(fs.Lookup(strings.TrimLeft(name, "-"))))
	}
	return err
}

// wanted says what a flag takes; nothing of an unknown one.
func wanted(f *flag.Flag) string {
	if f == nil {
		return ""
	}
	switch kind, _ := flag.UnquoteUsage(f); kind {
	case "time":
		return ": want a time, such as 5s"
	case "number", "entries":
		return ": want a number"
	}
	return ""
}

// help prints what a command does, and its flags.
func (c *command) help(w io.Writer) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n\nusage: %s\n\n%s\n\nexamples:\n", c.name, c.summary,
		strings.TrimSpace("nearbus "+c.name+" [flags] "+c.args), strings.TrimSpace(c.about))
	for _, example := range c.examples {
		fmt.Fprintf(&text, "  %s\n", example)
	}
	text.WriteString("\nflags:\n")
	c.flagSet(&invocation{}).VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		line := strings.TrimRight("  -"+f.Name+" "+strings.ToUpper(kind), " ")
		fmt.Fprintf(&text, "%-22s %s", line, usage)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			fmt.Fprintf(&text, " (default %s)", f.DefValue)
		}
		if slices.Contains(sharedFlags, f.Name) {
			fmt.Fprintf(&text, " [%s]", variable(f.Name))
		}
		text.WriteByte('\n')
	})
	_, _ = io.WriteString(w, text.String())
}
