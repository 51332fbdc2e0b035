package tee

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// Redis is version 2 or 3 of the protocol of Redis, for clients that have one request
// answered once: they subscribe to one channel at a time.
var Redis = Protocol{
	Answer:   func(r *bufio.Reader) ([]byte, error) { return appendRedis(nil, r) },
	Requests: redisRequests,
}

// redisRequests counts the whole requests that b begins with.
func redisRequests(b []byte) (n, length int) {
	from := bytes.NewReader(b)
	r := bufio.NewReader(from)
	for {
		if _, err := appendRedis(nil, r); err != nil {
			return n, length
		}
		n++
		length = len(b) - from.Len() - r.Buffered()
	}
}

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

// Memcached is the text protocol of Memcached. An answer is a line of one, and the value
// that the line announces.
var Memcached = Protocol{Answer: memcachedLine}

func memcachedLine(r *bufio.Reader) ([]byte, error) {
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
