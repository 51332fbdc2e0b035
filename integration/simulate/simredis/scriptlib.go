package simredis

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// library is the table redis of scripts.
func (in *interpreter) library(l *lua.LState) *lua.LTable {
	t := l.NewTable()
	for name, f := range map[string]lua.LGFunction{
		"call":         func(l *lua.LState) int { return in.call(l, true) },
		"pcall":        func(l *lua.LState) int { return in.call(l, false) },
		"error_reply":  func(l *lua.LState) int { return replyTable(l, "err", errorText(l.CheckString(1))) },
		"status_reply": func(l *lua.LState) int { return replyTable(l, "ok", l.CheckString(1)) },
		"sha1hex": func(l *lua.LState) int {
			sum := sha1.Sum([]byte(l.CheckString(1)))
			l.Push(lua.LString(hex.EncodeToString(sum[:])))
			return 1
		},
		"setresp": func(l *lua.LState) int {
			in.protocol = l.CheckInt(1)
			return 0
		},
	} {
		t.RawSetString(name, l.NewFunction(f))
	}
	t.RawSetString("REDIS_VERSION", lua.LString(Version))
	t.RawSetString("REDIS_VERSION_NUM", lua.LNumber(0x0007000f))
	return t
}

// errorText adds a code to an error that has none.
func errorText(text string) string {
	text = strings.TrimPrefix(text, "-")
	if strings.Contains(text, " ") {
		return text
	}
	return "ERR " + text
}

func replyTable(l *lua.LState, field, text string) int {
	t := l.CreateTable(0, 1)
	t.RawSetString(field, lua.LString(text))
	l.Push(t)
	return 1
}

// call is redis.call and redis.pcall.
func (in *interpreter) call(l *lua.LState, raise bool) int {
	answer := in.carryOut(l)
	if answer.failed() {
		t := l.CreateTable(0, 4)
		t.RawSetString("err", lua.LString(answer.s))
		t.RawSetString("ignore_error_stats_update", lua.LTrue)
		if raise {
			t.RawSetString("source", lua.LString("@"+chunk))
			t.RawSetString("line", lua.LNumber(lineOf(l)))
			l.Error(t, 1)
		}
		l.Push(t)
		return 1
	}
	l.Push(in.value(l, answer))
	return 1
}

// carryOut carries out the command that a script asks for.
func (in *interpreter) carryOut(l *lua.LState) reply {
	n := l.GetTop()
	if n == 0 {
		return failure("ERR Please specify at least one argument for this redis lib call")
	}
	args := in.args[:0]
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case lua.LString:
			args = append(args, string(v))
		case lua.LNumber:
			args = append(args, numberArgument(float64(v)))
		default:
			return failure("ERR Lua redis lib command arguments must be strings or integers")
		}
	}
	in.args = args
	cmd := commandOf(args[0])
	if cmd == nil {
		in.server.unknown[strings.ToLower(args[0])]++
		return failure("ERR Unknown Redis command called from script")
	}
	if !cmd.takes(args) {
		return failure("ERR Wrong number of args calling Redis command from script")
	}
	if refusal := in.refusal(cmd); refusal != "" {
		return failure(refusal)
	}
	return cmd.run(in.server, in.client, args)
}

// refusal says why the script may not call cmd now, or nothing.
func (in *interpreter) refusal(cmd *command) string {
	s := in.server
	s.calls[cmd.name]++
	switch {
	case cmd.flags&notInScripts != 0:
		return "ERR This Redis command is not allowed from script"
	case s.denied[cmd.name]:
		return "ERR The user executing the script can't run this command or subcommand"
	case s.refused[cmd.name] != "":
		return s.refused[cmd.name]
	case in.wrote:
		return ""
	case cmd.flags&writes != 0 && s.primary != nil:
		return errReplica
	case cmd.flags&writes != 0 && !s.enoughReplicasLocked():
		return errReplicas
	case cmd.flags&grows != 0 && s.full:
		return errMemory
	}
	in.wrote = cmd.flags&writes != 0
	return ""
}

// numberArgument writes a number as Redis does.
func numberArgument(n float64) string {
	if n == float64(int64(n)) && n > -1e17 && n < 1e17 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatFloat(n, 'g', 17, 64)
}

// value turns an answer into what a script gets.
func (in *interpreter) value(l *lua.LState, r reply) lua.LValue {
	switch r.kind {
	case integerReply:
		return lua.LNumber(r.n)
	case bulkReply:
		return lua.LString(r.s)
	case statusReply, errorReply:
		field := "ok"
		if r.failed() {
			field = "err"
		}
		t := l.CreateTable(0, 1)
		t.RawSetString(field, lua.LString(r.s))
		return t
	case arrayReply, mapReply:
		t := l.CreateTable(len(r.list), 0)
		for i, e := range r.list {
			t.RawSetInt(i+1, in.value(l, e))
		}
		return t
	}
	if in.protocol == 3 {
		return lua.LNil
	}
	return lua.LFalse
}
