package simredis

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// matched is what a pattern matched in a text the last time.
type matched struct {
	text  string
	value lua.LValue
}

const (
	longText    = 64 // bytes
	maxPatterns = 100
)

// quickMatch puts a string.match in the place of the interpreter's that looks for the
// plain text that a pattern begins with before it matches, and remembers what was found
// in a long text. Scripts look for fields of INFO so, which stay as they are, and the
// interpreter's begins anew, and allocates, at each byte.
func quickMatch(l *lua.LState) {
	library := l.G.Global.RawGetString("string").(*lua.LTable)
	slow := library.RawGetString("match").(*lua.LFunction).GFunction
	last := make(map[string]matched)
	library.RawSetString("match", l.NewFunction(func(l *lua.LState) int {
		text, pattern := l.CheckString(1), l.CheckString(2)
		if l.GetTop() != 2 || len(text) < longText || strings.Contains(pattern, "()") {
			return slow(l)
		}
		if m, found := last[pattern]; found && m.text == text {
			l.Push(m.value)
			return 1
		}
		n := matchFrom(l, slow, text, pattern)
		if n == 1 {
			if len(last) >= maxPatterns {
				clear(last)
			}
			last[pattern] = matched{text, l.Get(-1)}
		}
		return n
	}))
}

// matchFrom matches at each place where the plain beginning of a pattern is.
func matchFrom(l *lua.LState, slow lua.LGFunction, text, pattern string) int {
	plain := plainPrefix(pattern)
	if plain == "" {
		return slow(l)
	}
	l.Replace(2, lua.LString("^"+pattern))
	for at := 0; ; at++ {
		next := strings.Index(text[at:], plain)
		if next < 0 {
			l.Push(lua.LNil)
			return 1
		}
		at += next
		l.SetTop(2)
		l.Replace(1, lua.LString(text[at:]))
		if n := slow(l); l.Get(-n) != lua.LNil {
			return n
		}
	}
}

// plainPrefix returns the text that each match of a pattern begins with.
func plainPrefix(pattern string) string {
	n := strings.IndexAny(pattern, "^$*+?.([%-")
	if n < 0 {
		return pattern
	}
	if n > 0 && strings.IndexByte("*?-", pattern[n]) >= 0 {
		n-- // the byte before may be missing
	}
	return pattern[:n]
}
