package simredis

import (
	"strings"
)

// A command is what a server knows.
type command struct {
	name  string // in small letters
	arity int    // number of arguments with the name; -n for n or more
	flags int
	run   func(s *Server, c *client, args []string) reply
}

const (
	writes       = 1 << iota // changes data
	grows                    // may take memory: refused when that is full
	notInScripts             // refused there
	subscribes               // allowed to subscribers of version 2 of the protocol
)

// commands are all commands by their names in small and in capital letters.
var commands map[string]*command

func init() { // they refer to each other by way of scripts
	commands = make(map[string]*command)
	for _, group := range [][]command{textCommands, keyCommands, streamCommands, pubsubCommands, serverCommands, scriptCommands} {
		for _, cmd := range group {
			commands[cmd.name], commands[strings.ToUpper(cmd.name)] = &cmd, &cmd
		}
	}
}

func commandOf(name string) *command {
	if cmd := commands[name]; cmd != nil {
		return cmd
	}
	return commands[strings.ToLower(name)]
}

func (cmd *command) takes(args []string) bool {
	return len(args) == cmd.arity || cmd.arity < 0 && len(args) >= -cmd.arity
}

// Errors of more than one command.
const (
	errNoInteger = "ERR value is not an integer or out of range"
	errSyntax    = "ERR syntax error"
	errWrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errReplica   = "READONLY You can't write against a read only replica."
	errReplicas  = "NOREPLICAS Not enough good replicas to write."
	errMemory    = "OOM command not allowed when used memory > 'maxmemory'."
)

// carryOutLocked carries out what a client sent.
func (s *Server) carryOutLocked(c *client, args []string) reply {
	cmd := commandOf(args[0])
	if cmd == nil {
		name := args[0]
		s.unknown[strings.ToLower(name)]++
		return failure(unknownCommand(args))
	}
	s.calls[cmd.name]++
	if !cmd.takes(args) {
		return failure("ERR wrong number of arguments for '" + cmd.name + "' command")
	}
	if refusal := s.refusalLocked(c, cmd); refusal != "" {
		return failure(refusal)
	}
	answer := cmd.run(s, c, args)
	s.shipLocked()
	return answer
}

// refusalLocked says why a client may not call cmd now, or nothing.
func (s *Server) refusalLocked(c *client, cmd *command) string {
	if s.denied[cmd.name] {
		return "NOPERM this user has no permissions to run the '" + cmd.name + "' command"
	}
	if text := s.refused[cmd.name]; text != "" {
		return text
	}
	s.sweepLocked()
	s.full = s.evictLocked()
	switch {
	case s.full && cmd.flags&grows != 0:
		return errMemory
	case cmd.flags&writes != 0 && !s.enoughReplicasLocked():
		return errReplicas
	case cmd.flags&writes != 0 && s.primary != nil:
		return errReplica
	case c.protocol == 2 && c.subscribed() && cmd.flags&subscribes == 0:
		return "ERR Can't execute '" + cmd.name +
			"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
	}
	return ""
}

func unknownCommand(args []string) string {
	const most = 128
	var b strings.Builder
	b.WriteString("ERR unknown command '" + clip(args[0], most) + "', with args beginning with: ")
	begin := b.Len()
	for _, arg := range args[1:] {
		if left := most - (b.Len() - begin); left > 0 {
			b.WriteString("'" + clip(arg, left) + "' ")
		}
	}
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(b.String())
}

// clip returns up to n bytes of what C takes for the text.
func clip(s string, n int) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s[:min(len(s), n)]
}

// Refuse has the server answer a command with an error, in scripts too, as if the
// server was in that state: "LOADING Redis is loading the dataset in memory". An empty
// error lets the command be carried out again.
func (s *Server) Refuse(name, err string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == "" {
		delete(s.refused, strings.ToLower(name))
		return
	}
	s.refused[strings.ToLower(name)] = err
}

// Deny takes the right to call some commands from all users, or gives it back.
func (s *Server) Deny(denied bool, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.denied[strings.ToLower(name)] = denied
	}
}

// subcommand finds what the second argument of a command asks for.
func subcommand(s *Server, c *client, args []string, known []command) reply {
	parent := strings.ToLower(args[0])
	name := strings.ToLower(args[1])
	for i := range known {
		sub := &known[i]
		if sub.name != name {
			continue
		}
		if !sub.takes(args) {
			return failure("ERR wrong number of arguments for '" + parent + "|" + name + "' command")
		}
		return sub.run(s, c, args)
	}
	return failure("ERR unknown subcommand '" + clip(args[1], 128) + "'. Try " + strings.ToUpper(parent) + " HELP.")
}

// integerArgument reads a number as Redis takes it.
func integerArgument(s string) (int64, bool) {
	if len(s) > 20 {
		return 0, false
	}
	if n, is := integerOf(s); is {
		return n, true
	}
	return 0, false
}
