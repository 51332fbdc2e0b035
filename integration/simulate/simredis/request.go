package simredis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	maxArguments = 1 << 20
	maxBulk      = 512 << 20
	readSize     = 16 << 10
)

// protocolError is what makes the server end a connection.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// errShort says that a request has not arrived as a whole.
var errShort = errors.New("simredis: more is to come")

// A requestReader splits what a client sends into requests.
type requestReader struct {
	from   io.Reader
	buffer []byte // begins with the next request
	done   int    // bytes of it that were handed out
	spans  []span // of the arguments of the last request
}

// A span is where an argument lies in the buffer.
type span struct{ from, to int }

// next returns the arguments of the next request, which has at least one. It calls
// before each time before it waits for the client.
func (r *requestReader) next(args []string, before func()) ([]string, error) {
	for {
		rest := r.buffer[r.done:]
		size, err := r.parse(rest)
		switch {
		case err == nil && len(r.spans) == 0: // an empty line
			r.done += size
			continue
		case err == nil:
			args = r.arguments(args[:0], rest[:size])
			r.done += size
			return args, nil
		case !errors.Is(err, errShort):
			return nil, err
		}
		before()
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// arguments makes one string of a request, of which all arguments are parts.
func (r *requestReader) arguments(args []string, request []byte) []string {
	whole := string(request)
	for _, at := range r.spans {
		args = append(args, whole[at.from:at.to])
	}
	return args
}

// fill reads more.
func (r *requestReader) fill() error {
	if r.done > 0 {
		r.buffer = r.buffer[:copy(r.buffer, r.buffer[r.done:])]
		r.done = 0
	}
	r.buffer = slices.Grow(r.buffer, readSize)
	n, err := r.from.Read(r.buffer[len(r.buffer):cap(r.buffer)])
	r.buffer = r.buffer[:len(r.buffer)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// parse finds the arguments of the request that b begins with, and its length.
func (r *requestReader) parse(b []byte) (size int, err error) {
	r.spans = r.spans[:0]
	line, at, err := takeLine(b, 0)
	if err != nil {
		return 0, err
	}
	if len(line) == 0 || line[0] != '*' {
		r.inline(line)
		return at, nil
	}
	count, valid := number(line[1:])
	if !valid || count > maxArguments {
		return 0, protocolError("ERR Protocol error: invalid multibulk length")
	}
	for range count {
		if line, at, err = takeLine(b, at); err != nil {
			return 0, err
		}
		if len(line) == 0 || line[0] != '$' {
			first := byte(0)
			if len(line) > 0 {
				first = line[0]
			}
			return 0, protocolError(fmt.Sprintf("ERR Protocol error: expected '$', got '%c'", first))
		}
		length, valid := number(line[1:])
		if !valid || length < 0 || length > maxBulk {
			return 0, protocolError("ERR Protocol error: invalid bulk length")
		}
		if len(b) < at+length+2 {
			return 0, errShort
		}
		r.spans = append(r.spans, span{at, at + length})
		at += length + 2
	}
	return at, nil
}

// inline takes a line of words for a request, as Redis does.
func (r *requestReader) inline(line []byte) {
	at := 0
	for word := range bytes.FieldsSeq(line) {
		at += bytes.Index(line[at:], word)
		r.spans = append(r.spans, span{at, at + len(word)})
		at += len(word)
	}
}

func takeLine(b []byte, at int) (line []byte, next int, err error) {
	end := bytes.IndexByte(b[at:], '\n')
	if end < 0 {
		return nil, 0, errShort
	}
	return bytes.TrimSuffix(b[at:at+end], []byte{'\r'}), at + end + 1, nil
}

// number reads a length.
func number(b []byte) (n int, valid bool) {
	negative := len(b) > 1 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
