package simredis

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

var scriptCommands = []command{
	{"eval", -3, notInScripts, eval},
	{"evalsha", -3, notInScripts, evalSHA},
	{"script", -2, notInScripts, scriptCommand},
}

// chunk is what Redis calls every script.
const chunk = "user_script"

// A script is compiled. It may run on many servers at a time.
type script struct {
	sha  string
	code *lua.FunctionProto
	err  string // why it does not compile
}

// compiled holds scripts by their text, for all servers.
var compiled = struct {
	sync.Mutex
	scripts map[string]*script
}{scripts: make(map[string]*script)}

// maxCompiled bounds compiled.
const maxCompiled = 500

// compile compiles a script, once for all servers.
func compile(text string) *script {
	compiled.Lock()
	defer compiled.Unlock()
	if sc := compiled.scripts[text]; sc != nil {
		return sc
	}
	sum := sha1.Sum([]byte(text))
	sc := &script{sha: hex.EncodeToString(sum[:])}
	tree, err := parse.Parse(strings.NewReader(text), chunk)
	if err == nil {
		sc.code, err = lua.Compile(tree, chunk)
	}
	if err != nil {
		sc.err = "ERR Error compiling script (new function): " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	if len(compiled.scripts) >= maxCompiled {
		clear(compiled.scripts)
	}
	compiled.scripts[text] = sc
	return sc
}

func eval(s *Server, c *client, args []string) reply {
	keys, wrong := keysOf(args)
	if wrong != "" {
		return failure(wrong)
	}
	sc := compile(args[1])
	if sc.err != "" {
		return failure(sc.err)
	}
	s.cached[sc.sha] = sc
	return s.scripts.run(c, sc, args[3:3+keys], args[3+keys:])
}

func evalSHA(s *Server, c *client, args []string) reply {
	keys, wrong := keysOf(args)
	if wrong != "" {
		return failure(wrong)
	}
	sc := s.cached[args[1]]
	if sc == nil {
		sc = s.cached[strings.ToLower(args[1])]
	}
	if sc == nil {
		return failure("NOSCRIPT No matching script. Please use EVAL.")
	}
	return s.scripts.run(c, sc, args[3:3+keys], args[3+keys:])
}

// keysOf returns how many keys a script is given.
func keysOf(args []string) (n int, wrong string) {
	keys, is := integerArgument(args[2])
	switch {
	case !is:
		return 0, errNoInteger
	case keys > int64(len(args)-3):
		return 0, "ERR Number of keys can't be greater than number of args"
	case keys < 0:
		return 0, "ERR Number of keys can't be negative"
	}
	return int(keys), ""
}

func scriptCommand(s *Server, c *client, args []string) reply {
	return subcommand(s, c, args, []command{
		{"load", 3, 0, func(s *Server, _ *client, args []string) reply {
			sc := compile(args[2])
			if sc.err != "" {
				return failure(sc.err)
			}
			s.cached[sc.sha] = sc
			return bulk(sc.sha)
		}},
		{"exists", -3, 0, func(s *Server, _ *client, args []string) reply {
			var list []reply
			for _, sha := range args[2:] {
				n := int64(0)
				if s.cached[strings.ToLower(sha)] != nil {
					n = 1
				}
				list = append(list, integer(n))
			}
			return array(list...)
		}},
		{"flush", -2, 0, func(s *Server, _ *client, _ []string) reply {
			s.cached = make(map[string]*script)
			return ok
		}},
	})
}

// An interpreter runs the scripts of one server, one after the other.
type interpreter struct {
	server    *Server
	state     *lua.LState
	functions map[*script]*lua.LFunction
	failed    *lua.LFunction // says where a script failed

	// Of the script that runs.
	client   *client
	protocol int  // of what commands answer
	wrote    bool // it called a command that may write
	args     []string
}

func newInterpreter(s *Server) *interpreter {
	in := &interpreter{server: s, functions: make(map[*script]*lua.LFunction)}
	return in
}

// start makes the state that scripts run in, when the first of them is to run.
func (in *interpreter) start() {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
		lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	quickMatch(l)
	exactNumbers(l)
	textOfErrors(l)
	globals := l.G.Global
	for _, name := range []string{"dofile", "loadfile", "print", "require", "module", "newproxy", "_printregs", "_GOPHER_LUA_VERSION"} {
		globals.RawSetString(name, lua.LNil)
	}
	globals.RawSetString("redis", in.library(l))
	globals.RawSetString("struct", structLibrary(l))
	guard := l.NewTable()
	guard.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to access nonexistent global variable '%s'", l.ToString(2))
		return 0
	}))
	guard.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Attempt to modify a readonly table")
		return 0
	}))
	l.SetMetatable(globals, guard)
	in.failed = l.NewFunction(in.locate)
	in.state = l
}

// textOfErrors puts a pcall in the place of the interpreter's that returns the text of an
// error that is a table of Redis.
func textOfErrors(l *lua.LState) {
	globals := l.G.Global
	other := globals.RawGetString("pcall").(*lua.LFunction).GFunction
	globals.RawSetString("pcall", l.NewFunction(func(l *lua.LState) int {
		n := other(l)
		if n == 2 && l.Get(-2) == lua.LFalse {
			if t, is := l.Get(-1).(*lua.LTable); is && t.RawGetString("err").Type() == lua.LTString {
				l.Pop(1)
				l.Push(t.RawGetString("err"))
			}
		}
		return n
	}))
}

// run runs a script and returns its answer.
func (in *interpreter) run(c *client, sc *script, keys, args []string) reply {
	if in.state == nil {
		in.start()
	}
	l := in.state
	f := in.functions[sc]
	if f == nil {
		if len(in.functions) >= maxCompiled {
			clear(in.functions)
		}
		f = l.NewFunctionFromProto(sc.code)
		in.functions[sc] = f
	}
	in.client, in.protocol, in.wrote = c, 2, false
	l.G.Global.RawSetString("KEYS", tableOf(l, keys))
	l.G.Global.RawSetString("ARGV", tableOf(l, args))
	l.Push(f)
	err := l.PCall(0, 1, in.failed)
	if err != nil {
		l.SetTop(0)
		return in.failure(err, sc)
	}
	answer := in.answer(l.Get(-1))
	l.Pop(1)
	return answer
}

func tableOf(l *lua.LState, values []string) *lua.LTable {
	t := l.CreateTable(len(values), 0)
	for _, v := range values {
		t.Append(lua.LString(v))
	}
	return t
}

// locate turns what a script failed with into a table that says where.
func (in *interpreter) locate(l *lua.LState) int {
	t, isTable := l.Get(1).(*lua.LTable)
	if !isTable {
		t = l.NewTable()
		t.RawSetString("err", lua.LString("ERR "+l.ToString(1)))
	}
	if t.RawGetString("line") == lua.LNil {
		if line := lineOf(l); line > 0 {
			t.RawSetString("source", lua.LString("@"+chunk))
			t.RawSetString("line", lua.LNumber(line))
		}
	}
	l.Push(t)
	return 1
}

// lineOf returns the line of the script that is carried out, or 0.
func lineOf(l *lua.LState) int {
	for level := 0; ; level++ {
		frame, there := l.GetStack(level)
		if !there {
			return 0
		}
		if _, err := l.GetInfo("Sl", frame, nil); err == nil && frame.CurrentLine > 0 {
			return frame.CurrentLine
		}
	}
}

// failure is the answer of a script that failed.
func (in *interpreter) failure(err error, sc *script) reply {
	text, line := err.Error(), 0
	if api, is := errors.AsType[*lua.ApiError](err); is {
		if t, is := api.Object.(*lua.LTable); is {
			text = t.RawGetString("err").String()
			if n, is := t.RawGetString("line").(lua.LNumber); is {
				line = int(n)
			}
		}
	}
	return failure(oneLine(text + " script: " + sc.sha + ", on @" + chunk + ":" + strconv.Itoa(line) + "."))
}

func oneLine(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) }

// answer turns what a script returned into a reply.
func (in *interpreter) answer(v lua.LValue) reply {
	switch v := v.(type) {
	case lua.LString:
		return bulk(string(v))
	case lua.LNumber:
		return integer(int64(v))
	case lua.LBool:
		switch {
		case bool(v):
			return integer(1)
		default:
			return null
		}
	case *lua.LTable:
		return in.answerTable(v)
	}
	return null
}

func (in *interpreter) answerTable(t *lua.LTable) reply {
	if text, is := t.RawGetString("err").(lua.LString); is {
		return failure(oneLine(strings.TrimPrefix(string(text), "-")))
	}
	if text, is := t.RawGetString("ok").(lua.LString); is {
		return status(oneLine(string(text)))
	}
	list := make([]reply, 0, t.Len())
	for i := 1; ; i++ {
		v := t.RawGetInt(i)
		if v == lua.LNil {
			return array(list...)
		}
		list = append(list, in.answer(v))
	}
}
