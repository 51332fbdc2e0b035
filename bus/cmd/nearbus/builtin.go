package main

import (
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// builtins are the commands that need no fleet: what each says of itself.
var builtins = map[string]string{
	"help":       "help: print what there is, or all about a command\n\nusage: nearbus help [COMMAND]\n",
	"version":    "version: print the version\n\nusage: nearbus version\n",
	"completion": "completion: print what has a shell complete commands and flags\n\nusage: nearbus completion bash|zsh|fish\n\nexamples:\n  eval \"$(nearbus completion bash)\"\n  eval \"$(nearbus completion zsh)\"\n  nearbus completion fish | source\n",
}

// isHelp reports whether an argument asks for help.
func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

// runBuiltin runs what needs no fleet.
func runBuiltin(name string, args []string, c *console) (code int, done bool) {
	switch {
	case isHelp(name):
		name = "help"
	case name == "-version", name == "--version":
		name = "version"
	}
	about, known := builtins[name]
	if !known {
		return 0, false
	}
	if len(args) > 0 && isHelp(args[0]) {
		c.printf("%s", about)
		return 0, true
	}
	switch name {
	case "help":
		return help(args, c), true
	case "completion":
		return completion(args, c), true
	}
	if len(args) > 0 {
		c.notef("nearbus version: what is %q for?\n", args[0])
		return exitUsage, true
	}
	c.printf("nearbus %s\n", version())
	return 0, true
}

// help prints all about a command.
func help(args []string, c *console) (code int) {
	if len(args) == 0 {
		c.printf("%s", overview())
		return 0
	}
	if about, known := builtins[args[0]]; known {
		c.printf("%s", about)
		return 0
	}
	cmd := commandNamed(args[0])
	if cmd == nil {
		c.notef("nearbus: there is no command %q; see nearbus help\n", args[0])
		return exitUsage
	}
	cmd.help(c.out)
	return 0
}

func completion(args []string, c *console) (code int) {
	script, known := completions[strings.Join(args, " ")]
	if !known {
		c.notef("nearbus completion: want one of bash, zsh, fish\n")
		return exitUsage
	}
	c.printf("%s", script())
	return 0
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func overview() string {
	var text strings.Builder
	text.WriteString("nearbus looks into a fleet of servers, and invalidates by hand.\n\nusage: nearbus COMMAND [flags] [arguments]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&text, "  %-16s %s\n", c.name, c.summary)
	}
	return text.String() + `  completion SHELL print what has bash, zsh or fish complete commands and flags
  version          print the version
  help [COMMAND]   print this, or all about a command

The fleet is given by flags, or by variables of the environment:

  -store URL       NEARBUS_STORE      redis://HOST:PORT/DB, rediss://..., redis+cluster://HOST:PORT,HOST:PORT,
                                      redis+sentinel://HOST:PORT,HOST:PORT/MASTER, memcached://HOST:PORT,HOST:PORT
  -bus URL         NEARBUS_BUS        nats://HOST:PORT, tls://..., nats+jetstream://..., or redis://...; that of the
                                      store if it is Redis
  -namespace NAME  NEARBUS_NAMESPACE  as the servers have it

A password belongs into the variable: others see the arguments of a process.
`
}

// completions are the scripts for shells, by name.
var completions = map[string]func() string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

// flagsOf returns the names of the flags of a command.
func flagsOf(c *command) (names []string) {
	c.flagSet(&invocation{}).VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return names
}

// valued returns the names of the flags that take a value.
func valued() (names []string) {
	for _, c := range commands() {
		c.flagSet(&invocation{}).VisitAll(func(f *flag.Flag) {
			if kind, _ := flag.UnquoteUsage(f); kind != "" { // a switch has none
				names = append(names, "-"+f.Name)
			}
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func commandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return append(names, "completion", "version", "help")
}

func bashCompletion() string {
	var cases strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&cases, "\t\t%s) words=%q formats=%q;;\n", c.name, strings.Join(flagsOf(c), " "), strings.Join(c.formats, " "))
	}
	names := strings.Join(commandNames(), " ")
	return fmt.Sprintf(`# eval "$(nearbus completion bash)"
_nearbus() {
	local words="" formats="" word="${COMP_WORDS[COMP_CWORD]}"
	if [ "$COMP_CWORD" -eq 1 ]; then
		words=%q
	else case "${COMP_WORDS[1]}" in
%s		help) words=%q;;
		completion) words="bash zsh fish";;
	esac; fi
	case "${COMP_WORDS[COMP_CWORD-1]}" in
		-format) words="$formats";;
		-ca|-cert|-key|-creds) COMPREPLY=($(compgen -f -- "$word")); return;;
		-*) case " %s " in *" ${COMP_WORDS[COMP_CWORD-1]} "*) words="";; esac;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _nearbus nearbus
`, names, cases.String(), names, strings.Join(valued(), " "))
}

func zshCompletion() string {
	return "#compdef nearbus\n# eval \"$(nearbus completion zsh)\"\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion()
}

func fishCompletion() string {
	var text strings.Builder
	text.WriteString("# nearbus completion fish | source\ncomplete -c nearbus -f\n")
	for _, name := range commandNames() {
		fmt.Fprintf(&text, "complete -c nearbus -n __fish_use_subcommand -a %s\n", name)
	}
	for _, c := range commands() {
		for _, name := range flagsOf(c) {
			fmt.Fprintf(&text, "complete -c nearbus -n '__fish_seen_subcommand_from %s' -o %s\n", c.name, strings.TrimPrefix(name, "-"))
		}
	}
	return text.String()
}
