package simredis

import (
	lua "github.com/yuin/gopher-lua"
)

// structLibrary is the table struct of scripts: pack and unpack, with the formats < and
// >, B and b, I and i with a size, and c with one.
func structLibrary(l *lua.LState) *lua.LTable {
	t := l.NewTable()
	t.RawSetString("pack", l.NewFunction(structPack))
	t.RawSetString("unpack", l.NewFunction(structUnpack))
	return t
}

// A layout is a format that is read from its beginning.
type layout struct {
	rest string
	big  bool
}

// next returns the next field and its size; a zero kind at the end.
func (f *layout) next(l *lua.LState) (kind byte, size int) {
	for len(f.rest) > 0 {
		kind = f.rest[0]
		f.rest = f.rest[1:]
		switch kind {
		case '>':
			f.big = true
		case '<':
			f.big = false
		case 'B':
			return 'I', 1
		case 'b':
			return 'i', 1
		case 'I', 'i', 'c':
			size = f.size()
			if kind != 'c' && (size < 1 || size > 8) {
				l.RaiseError("simredis: struct: a number of %d bytes", size)
			}
			return kind, size
		default:
			l.RaiseError("invalid format option '%c'", kind)
		}
	}
	return 0, 0
}

// size reads the size of a field.
func (f *layout) size() (n int) {
	for len(f.rest) > 0 && f.rest[0] >= '0' && f.rest[0] <= '9' {
		n = n*10 + int(f.rest[0]-'0')
		f.rest = f.rest[1:]
	}
	return n
}

func structPack(l *lua.LState) int {
	f := layout{rest: l.CheckString(1)}
	var room [64]byte
	b := room[:0]
	for arg := 2; ; arg++ {
		kind, size := f.next(l)
		switch kind {
		case 0:
			l.Push(lua.LString(b))
			return 1
		case 'c':
			text := l.CheckString(arg)
			if size == 0 {
				size = len(text)
			}
			if len(text) < size {
				badArgument(l, arg, "pack", "string too short")
			}
			b = append(b, text[:size]...)
		default:
			b = appendWord(b, wordOfNumber(float64(l.CheckNumber(arg))), size, f.big)
		}
	}
}

// wordOfNumber makes a whole number of n as Redis does on amd64, also of one that is too large.
func wordOfNumber(n float64) uint64 {
	switch {
	case n < 0:
		return uint64(int64(n))
	case n >= 1<<64:
		return 0
	}
	return uint64(n)
}

func appendWord(b []byte, word uint64, size int, big bool) []byte {
	for i := range size {
		shift := 8 * i
		if big {
			shift = 8 * (size - 1 - i)
		}
		b = append(b, byte(word>>shift))
	}
	return b
}

// structUnpack returns what is in a text, and the place behind it.
func structUnpack(l *lua.LState) int {
	f, text := layout{rest: l.CheckString(1)}, l.CheckString(2)
	at := l.OptInt(3, 1) - 1
	if at < 0 {
		badArgument(l, 3, "unpack", "offset must be 1 or greater")
	}
	for n := 1; ; n++ {
		kind, size := f.next(l)
		if kind == 0 {
			l.Push(lua.LNumber(at + 1))
			return n
		}
		if at+size > len(text) {
			badArgument(l, 2, "unpack", "data string too short")
		}
		piece := text[at : at+size]
		at += size
		switch kind {
		case 'c':
			l.Push(lua.LString(piece))
		case 'I':
			l.Push(lua.LNumber(wordOf(piece, f.big)))
		default:
			shift := 64 - 8*size
			l.Push(lua.LNumber(int64(wordOf(piece, f.big)<<shift) >> shift))
		}
	}
}

func badArgument(l *lua.LState, n int, function, why string) {
	l.RaiseError("bad argument #%d to '%s' (%s)", n, function, why)
}

func wordOf(piece string, big bool) (word uint64) {
	for i := range len(piece) {
		if big {
			word = word<<8 | uint64(piece[i])
		} else {
			word |= uint64(piece[i]) << (8 * i)
		}
	}
	return word
}
