package simredis

import (
	"slices"
	"strconv"
)

var keyCommands = []command{
	{"del", -2, writes, del},
	{"exists", -2, 0, exists},
	{"rename", 3, writes, rename},
	{"type", 2, 0, typeOf},
	{"keys", 2, 0, keys},
	{"dbsize", 1, 0, dbSize},
	{"flushall", -1, writes, flushAll},
	{"pexpire", -3, writes, pexpire},
	{"pexpireat", -3, writes, pexpireAt},
	{"persist", 2, writes, persist},
	{"pttl", 2, 0, pttl},
	{"pexpiretime", 2, 0, pexpireTime},
}

// lookLocked returns the entry of a key, or nil. One that has expired is removed.
func (s *Server) lookLocked(key string) *entry {
	e := s.data.keys[key]
	if e == nil {
		return nil
	}
	now := int64(0)
	if e.expires != 0 || s.maxMemory != 0 {
		now = s.millisLocked()
		e.used = now
	}
	if !e.expired(now) || s.applying {
		return e
	}
	if s.primary == nil { // which says itself when keys are gone
		s.data.remove(key)
		s.propagate("DEL", key)
	}
	return nil
}

func del(s *Server, _ *client, args []string) reply {
	n := int64(0)
	for _, key := range args[1:] {
		if s.lookLocked(key) != nil {
			s.data.remove(key)
			s.propagate("DEL", key)
			n++
		}
	}
	return integer(n)
}

func exists(s *Server, _ *client, args []string) reply {
	n := int64(0)
	for _, key := range args[1:] {
		if s.lookLocked(key) != nil {
			n++
		}
	}
	return integer(n)
}

// rename gives the value of a key, and when it expires, to another one, in place of what that had.
func rename(s *Server, _ *client, args []string) reply {
	from, to := args[1], args[2]
	e := s.lookLocked(from)
	if e == nil {
		return failure("ERR no such key")
	}
	if from != to {
		moved := *e
		moved.key = to
		s.data.remove(from)
		s.data.put(&moved)
		s.propagate("RENAME", from, to)
	}
	return ok
}

func typeOf(s *Server, _ *client, args []string) reply {
	switch e := s.lookLocked(args[1]); {
	case e == nil:
		return status("none")
	case e.stream != nil:
		return status("stream")
	}
	return status("string")
}

// keys knows no pattern but that of all.
func keys(s *Server, _ *client, args []string) reply {
	if args[1] != "*" {
		s.unknown["keys with a pattern"]++
		return failure("ERR simredis knows no pattern but *")
	}
	var names []reply
	for _, name := range s.keysLocked() {
		names = append(names, bulk(name))
	}
	return array(names...)
}

func dbSize(s *Server, _ *client, _ []string) reply { return integer(int64(len(s.data.keys))) }

func flushAll(s *Server, _ *client, _ []string) reply {
	s.flushLocked()
	return ok
}

func pexpire(s *Server, _ *client, args []string) reply {
	return s.expireLocked(args, s.millisLocked())
}

func pexpireAt(s *Server, _ *client, args []string) reply { return s.expireLocked(args, 0) }

// expireLocked has a key expire so many milliseconds after a time.
func (s *Server) expireLocked(args []string, since int64) reply {
	n, is := integerArgument(args[2])
	if !is {
		return failure(errNoInteger)
	}
	if len(args) > 3 {
		return failure("ERR Unsupported option " + args[3])
	}
	e := s.lookLocked(args[1])
	if e == nil {
		return integer(0)
	}
	at := since + n
	if at <= s.millisLocked() && !s.applying {
		s.data.remove(e.key)
		s.propagate("DEL", e.key)
		return integer(1)
	}
	s.data.expire(e, at)
	if len(s.replicas) > 0 {
		s.propagate("PEXPIREAT", e.key, strconv.FormatInt(at, 10))
	}
	return integer(1)
}

func persist(s *Server, _ *client, args []string) reply {
	e := s.lookLocked(args[1])
	if e == nil || e.expires == 0 {
		return integer(0)
	}
	s.data.expire(e, 0)
	s.propagate(args...)
	return integer(1)
}

func pttl(s *Server, _ *client, args []string) reply {
	at := s.expiryLocked(args[1])
	if at > 0 {
		at -= s.millisLocked()
	}
	return integer(at)
}

func pexpireTime(s *Server, _ *client, args []string) reply { return integer(s.expiryLocked(args[1])) }

// expiryLocked returns when a key expires, -1 for never and -2 for no key.
func (s *Server) expiryLocked(key string) int64 {
	e := s.lookLocked(key)
	switch {
	case e == nil:
		return -2
	case e.expires == 0:
		return -1
	}
	return e.expires
}

// sweepLocked removes the keys that have expired, when about as many may have as there
// are others.
func (s *Server) sweepLocked() {
	if s.primary != nil || len(s.data.lists[volatileKeys]) < 2*s.swept+1000 {
		return
	}
	now := s.millisLocked()
	for _, e := range slices.Backward(s.data.lists[volatileKeys]) { // a removal moves later ones
		if e.expired(now) {
			s.data.remove(e.key)
			s.propagate("DEL", e.key)
		}
	}
	s.swept = len(s.data.lists[volatileKeys])
}
