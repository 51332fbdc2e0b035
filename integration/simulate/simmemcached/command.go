package simmemcached

import (
	"slices"
	"strconv"
)

// A request is a line and the value that follows it, if one does.
type request struct {
	words []string

	// Of a request that stores.
	stores     bool
	flags      uint32
	expiration int64
	length     int // -1 if the line is not valid
	unique     uint64
	value      string
	quiet      bool // nothing is to be answered
	tooLarge   bool
	badChunk   bool
}

// maxKey is the length of the longest key.
const maxKey = 250

const (
	badFormat = "CLIENT_ERROR bad command line format"
	badTime   = "CLIENT_ERROR invalid exptime argument"
	badChunk  = "CLIENT_ERROR bad data chunk"
	tooLarge  = "SERVER_ERROR object too large for cache"
)

// parseStorage reads the line of a request that stores, and reports whether it is one.
func (r *request) parseStorage() bool {
	w := r.words
	if len(w) == 0 || !slices.Contains([]string{"set", "add", "replace", "cas"}, w[0]) {
		return false
	}
	least := 5
	if w[0] == "cas" {
		least = 6
	}
	if len(w) < least || len(w) > least+1 {
		return false
	}
	r.stores, r.length = true, -1
	r.quiet = len(w) > least && w[least] == "noreply"
	flags, err1 := strconv.ParseUint(w[2], 10, 32)
	expiration, err2 := strconv.ParseInt(w[3], 10, 64)
	length, err3 := strconv.ParseInt(w[4], 10, 32)
	if err1 != nil || err2 != nil || err3 != nil || length < 0 || len(w[1]) > maxKey {
		return true
	}
	r.flags, r.expiration = uint32(flags), int64(int32(expiration))
	if least == 6 {
		unique, err := strconv.ParseUint(w[5], 10, 64)
		if err != nil {
			return true
		}
		r.unique = unique
	}
	r.length = int(length)
	return true
}

// answerLocked appends the answer to a request.
func (s *Server) answerLocked(b []byte, r *request) []byte {
	if len(r.words) == 0 {
		return line(b, "ERROR")
	}
	name := r.words[0]
	if text := s.refused[name]; text != "" {
		s.calls[name]++
		return line(b, text)
	}
	answer, known := s.carryOutLocked(b, r)
	if !known {
		s.unknown[name]++
		return line(b, "ERROR")
	}
	s.calls[name]++
	return answer
}

// carryOutLocked carries out a request, and reports whether it knows it.
func (s *Server) carryOutLocked(b []byte, r *request) (answer []byte, known bool) {
	name, args := r.words[0], r.words[1:]
	switch {
	case r.stores:
		return line(b, s.storeLocked(r)), true
	case (name == "get" || name == "gets") && len(args) > 0:
		return s.getLocked(b, args, name == "gets"), true
	case name == "delete" && len(args) == 1:
		return line(b, s.deleteLocked(args[0])), true
	case name == "touch" && len(args) == 2:
		return line(b, s.touchLocked(args)), true
	case name == "flush_all" && len(args) == 0:
		s.flushLocked()
		return line(b, "OK"), true
	case name == "version":
		return line(b, "VERSION "+Version), true
	}
	return b, false
}

func line(b []byte, text string) []byte { return append(append(b, text...), "\r\n"...) }

func (s *Server) getLocked(b []byte, keys []string, unique bool) []byte {
	begin := len(b)
	for _, key := range keys {
		if len(key) > maxKey {
			return line(b[:begin], badFormat)
		}
		it := s.lookLocked(key)
		if it == nil {
			continue
		}
		b = append(append(append(b, "VALUE "...), key...), ' ')
		b = strconv.AppendUint(b, uint64(it.flags), 10)
		b = strconv.AppendInt(append(b, ' '), int64(len(it.value)), 10)
		if unique {
			b = strconv.AppendUint(append(b, ' '), it.cas, 10)
		}
		b = line(append(b, "\r\n"...), it.value)
	}
	return line(b, "END")
}

func (s *Server) storeLocked(r *request) string {
	name, key := r.words[0], r.words[1]
	switch {
	case r.length < 0:
		return badFormat
	case r.tooLarge:
		if name == "set" { // what is there is not what it should be
			s.removeLocked(key)
		}
		return tooLarge
	case r.badChunk:
		return badChunk
	}
	old := s.lookLocked(key)
	switch {
	case name == "add" && old != nil, name == "replace" && old == nil:
		return "NOT_STORED"
	case name == "cas" && old == nil:
		return "NOT_FOUND"
	case name == "cas" && old.cas != r.unique:
		return "EXISTS"
	}
	s.putLocked(&item{key: key, flags: r.flags, value: r.value, expires: s.expiryLocked(r.expiration)})
	return "STORED"
}

func (s *Server) deleteLocked(key string) string {
	if len(key) > maxKey {
		return badFormat
	}
	if s.lookLocked(key) == nil {
		return "NOT_FOUND"
	}
	s.removeLocked(key)
	return "DELETED"
}

func (s *Server) touchLocked(args []string) string {
	if len(args[0]) > maxKey {
		return badFormat
	}
	expiration, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return badTime
	}
	it := s.lookLocked(args[0])
	if it == nil {
		return "NOT_FOUND"
	}
	it.expires = s.expiryLocked(int64(int32(expiration)))
	return "TOUCHED"
}
