package tee

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// Redis reads an answer of a Redis server, in version 2 or 3 of its protocol.
func Redis(r *bufio.Reader) ([]byte, error) { return appendRedis(nil, r) }

func appendRedis(b []byte, r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	b = append(b, line...)
	if err != nil || len(line) < 3 {
		return b, err
	}
	length := 0
	switch line[0] {
	case '$', '=', '!', '*', '>', '~', '%':
		if length, err = strconv.Atoi(string(bytes.TrimSpace(line[1:]))); err != nil {
			return b, fmt.Errorf("tee: %q begins no answer", line)
		}
	}
	switch line[0] {
	case '$', '=', '!':
		if length >= 0 {
			return appendBytes(b, r, length+2)
		}
	case '%':
		length *= 2
	}
	if line[0] != '$' {
		for range length {
			if b, err = appendRedis(b, r); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

func appendBytes(b []byte, r *bufio.Reader, n int) ([]byte, error) {
	begin := len(b)
	b = append(b, make([]byte, n)...)
	_, err := io.ReadFull(r, b[begin:])
	return b, err
}

// Memcached reads a part of an answer of a Memcached server: a line, and the value that
// it announces.
func Memcached(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil || !bytes.HasPrefix(line, []byte("VALUE ")) {
		return line, err
	}
	words := bytes.Fields(line)
	length, err := strconv.Atoi(string(words[3]))
	if err != nil {
		return line, fmt.Errorf("tee: %q announces no value", line)
	}
	return appendBytes(line, r, length+2)
}
