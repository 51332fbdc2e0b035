package simredis

import (
	"strings"
)

var streamCommands = []command{
	{"xadd", -5, writes | grows, xadd},
	{"xlen", 2, 0, xlen},
	{"xrange", -4, 0, xrange},
	{"xrevrange", -4, 0, xrevrange},
	{"xinfo", -2, 0, xinfo},
}

const errStreamID = "ERR Invalid stream ID specified as stream command argument"

// streamLocked returns the entry of a key that is a stream, nil if there is none, or an
// answer that says that it is not.
func (s *Server) streamLocked(key string) (e *entry, wrong reply, isStream bool) {
	e = s.lookLocked(key)
	if e != nil && e.stream == nil {
		return nil, failure(errWrongType), false
	}
	return e, reply{}, true
}

// xadd takes MAXLEN ~ and ids that are whole or *.
func xadd(s *Server, _ *client, args []string) reply {
	rest, keep, wrong := trimOption(args[2:])
	if wrong != "" {
		return failure(wrong)
	}
	if len(rest) < 3 || len(rest)%2 == 0 {
		return failure("ERR wrong number of arguments for 'xadd' command")
	}
	id, isID := parseID(rest[0], 0)
	if rest[0] == "*" {
		id, isID = streamID{ms: uint64(s.millisLocked())}, true
	}
	if !isID || rest[0] == "-" || rest[0] == "+" {
		return failure(errStreamID)
	}
	if id == (streamID{}) {
		return failure("ERR The ID specified in XADD must be greater than 0-0")
	}
	e, bad, isStream := s.streamLocked(args[1])
	if !isStream {
		return bad
	}
	if e == nil {
		e = &entry{key: args[1], stream: new(stream), used: s.millisLocked()}
		s.data.put(e)
	}
	last := e.stream.last
	if last == lastID {
		return failure("ERR The stream has exhausted the last possible ID, unable to add more items")
	}
	if rest[0] == "*" && id.compare(last) <= 0 {
		id = streamID{last.ms, last.seq + 1}
	}
	if id.compare(last) <= 0 {
		return failure("ERR The ID specified in XADD is equal or smaller than the target stream top item")
	}
	s.data.change(e, func(e *entry) {
		e.stream.add(streamEntry{id, append([]string(nil), rest[1:]...)})
		if keep >= 0 {
			e.stream.trim(int(min(keep, 1<<40)))
		}
	})
	if len(s.replicas) > 0 {
		s.propagate(append(append(append([]string(nil), args[:len(args)-len(rest)]...), id.String()), rest[1:]...)...)
	}
	return bulk(id.String())
}

// trimOption takes MAXLEN ~ off the arguments, and returns -1 without it.
func trimOption(args []string) (rest []string, keep int64, wrong string) {
	if strings.ToUpper(args[0]) != "MAXLEN" {
		return args, -1, ""
	}
	if args[1] != "~" {
		return nil, 0, "ERR simredis knows no MAXLEN but ~"
	}
	n, is := integerArgument(args[2])
	switch {
	case !is:
		return nil, 0, errNoInteger
	case n < 0:
		return nil, 0, "ERR The MAXLEN argument must be >= 0."
	}
	return args[3:], n, ""
}

func xlen(s *Server, _ *client, args []string) reply {
	e, wrong, isStream := s.streamLocked(args[1])
	switch {
	case !isStream:
		return wrong
	case e == nil:
		return integer(0)
	}
	return integer(int64(e.stream.length))
}

func xrange(s *Server, _ *client, args []string) reply {
	return s.rangeLocked(args, args[2], args[3], (*stream).between)
}

func xrevrange(s *Server, _ *client, args []string) reply {
	return s.rangeLocked(args, args[3], args[2], (*stream).betweenBack)
}

func (s *Server) rangeLocked(args []string, first, last string, find func(s *stream, from, to streamID, count int) []streamEntry) reply {
	from, isFrom := parseID(first, 0)
	to, isTo := parseID(last, lastID.seq)
	if !isFrom || !isTo {
		return failure(errStreamID)
	}
	count := -1
	switch {
	case len(args) == 6 && strings.ToUpper(args[4]) == "COUNT":
		n, is := integerArgument(args[5])
		if !is {
			return failure(errNoInteger)
		}
		count = int(max(n, 0))
	case len(args) > 4:
		return failure(errSyntax)
	}
	e, wrong, isStream := s.streamLocked(args[1])
	switch {
	case !isStream:
		return wrong
	case e == nil:
		return array()
	case count == 0:
		return reply{kind: nullArrayReply}
	}
	found := find(e.stream, from, to, count)
	entries := make([]reply, len(found))
	for i, f := range found {
		entries[i] = f.reply()
	}
	return array(entries...)
}

func xinfo(s *Server, c *client, args []string) reply {
	return subcommand(s, c, args, []command{{"stream", 3, 0, xinfoStream}})
}

func xinfoStream(s *Server, _ *client, args []string) reply {
	e, wrong, isStream := s.streamLocked(args[2])
	switch {
	case !isStream:
		return wrong
	case e == nil:
		return failure("ERR no such key")
	}
	st := e.stream
	first, last := null, null
	if st.length > 0 {
		first = st.between(streamID{}, lastID, 1)[0].reply()
		last = st.betweenBack(streamID{}, lastID, 1)[0].reply()
	}
	return pairs(
		bulk("length"), integer(int64(st.length)),
		bulk("radix-tree-keys"), integer(int64(len(st.nodes))),
		bulk("last-generated-id"), bulk(st.last.String()),
		bulk("max-deleted-entry-id"), bulk("0-0"),
		bulk("entries-added"), integer(int64(st.added)),
		bulk("recorded-first-entry-id"), bulk(st.first().String()),
		bulk("groups"), integer(0),
		bulk("first-entry"), first,
		bulk("last-entry"), last,
	)
}
