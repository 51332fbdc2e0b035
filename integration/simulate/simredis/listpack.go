package simredis

import "strconv"

// Redis packs the entries of a node of a stream into a listpack. How long that is
// decides when a new node begins, and so what is trimmed.

// listpackFrame is the head and the end of a listpack.
const listpackFrame = 7

// packedNode is the length of a new node, before its first entry, e.
func packedNode(e streamEntry) int {
	size := listpackFrame + packedInt(1) + packedInt(0) + packedInt(int64(len(e.fields)/2)) + packedInt(0)
	for i := 0; i < len(e.fields); i += 2 {
		size += packedString(e.fields[i])
	}
	return size
}

// packedEntry is the length of e in a node whose first entry is first.
func packedEntry(e, first streamEntry) int {
	pieces := int64(len(e.fields)/2) + 3
	same := sameFields(e.fields, first.fields)
	if !same {
		pieces += int64(len(e.fields)/2) + 1
	}
	size := packedInt(2) + packedInt(int64(e.id.ms-first.id.ms)) + packedInt(int64(e.id.seq-first.id.seq)) + packedInt(pieces)
	if !same {
		size += packedInt(int64(len(e.fields) / 2))
	}
	for i := 0; i < len(e.fields); i += 2 {
		if !same {
			size += packedString(e.fields[i])
		}
		size += packedString(e.fields[i+1])
	}
	return size
}

func sameFields(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i += 2 {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// packedInt is the length of an element that is a number.
func packedInt(n int64) int {
	var size int
	switch {
	case n >= 0 && n <= 127:
		size = 1
	case n >= -4096 && n <= 4095:
		size = 2
	case n >= -1<<15 && n < 1<<15:
		size = 3
	case n >= -1<<23 && n < 1<<23:
		size = 4
	case n >= -1<<31 && n < 1<<31:
		size = 5
	default:
		size = 9
	}
	return size + backLength(size)
}

// packedString is the length of an element that is text; what is a number is packed as
// one.
func packedString(s string) int {
	if n, is := integerOf(s); is {
		return packedInt(n)
	}
	size := len(s)
	switch {
	case len(s) < 64:
		size++
	case len(s) < 4096:
		size += 2
	default:
		size += 5
	}
	return size + backLength(size)
}

// integerOf reads a number that is written as Redis writes it.
func integerOf(s string) (n int64, is bool) {
	if len(s) == 0 || len(s) > 20 || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && (len(s) == 1 || s[0] != '0' && s != "-0" && s[:2] != "-0")
}

// backLength is the length of what says, behind an element, how long that is.
func backLength(size int) int {
	switch {
	case size <= 127:
		return 1
	case size < 1<<14-1:
		return 2
	case size < 1<<21-1:
		return 3
	case size < 1<<28-1:
		return 4
	}
	return 5
}
