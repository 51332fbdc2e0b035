package simredis

import (
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// exactNumbers puts a tonumber in the place of the interpreter's, which knows no whole
// number past 2^63, and no exponent.
func exactNumbers(l *lua.LState) {
	globals := l.G.Global
	other := globals.RawGetString("tonumber").(*lua.LFunction).GFunction
	globals.RawSetString("tonumber", l.NewFunction(func(l *lua.LState) int {
		text, isText := l.CheckAny(1).(lua.LString)
		if !isText || l.GetTop() > 1 {
			return other(l)
		}
		if n, is := decimal(string(text)); is {
			l.Push(lua.LNumber(n))
			return 1
		}
		return other(l)
	}))
}

// decimal reads a number that is written in decimal digits.
func decimal(s string) (n float64, is bool) {
	s = strings.Trim(s, " \t\r\n\v\f")
	if s == "" || strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}
