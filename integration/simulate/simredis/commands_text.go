package simredis

import (
	"strconv"
	"strings"
)

var textCommands = []command{
	{"get", 2, 0, get},
	{"mget", -2, 0, mget},
	{"set", -3, writes | grows, set},
	{"getrange", 4, 0, getRange},
	{"setrange", 4, writes | grows, setRange},
	{"strlen", 2, 0, strlen},
}

// textLocked returns the entry of a key that is text, nil if there is none, or an
// answer that says that it is not.
func (s *Server) textLocked(key string) (e *entry, wrong reply, isText bool) {
	e = s.lookLocked(key)
	if e != nil && e.stream != nil {
		return nil, failure(errWrongType), false
	}
	return e, reply{}, true
}

func get(s *Server, _ *client, args []string) reply {
	e, wrong, isText := s.textLocked(args[1])
	switch {
	case !isText:
		return wrong
	case e == nil:
		return null
	}
	return bulk(e.text)
}

func mget(s *Server, _ *client, args []string) reply {
	values := make([]reply, len(args)-1)
	for i, key := range args[1:] {
		values[i] = null
		if e := s.lookLocked(key); e != nil && e.stream == nil {
			values[i] = bulk(e.text)
		}
	}
	return array(values...)
}

func strlen(s *Server, _ *client, args []string) reply {
	e, wrong, isText := s.textLocked(args[1])
	switch {
	case !isText:
		return wrong
	case e == nil:
		return integer(0)
	}
	return integer(int64(len(e.text)))
}

// set takes PX and EX in relation to now, PXAT, and the conditions NX and XX.
func set(s *Server, _ *client, args []string) reply {
	expires, condition, wrong := s.setOptionsLocked(args[3:])
	if wrong != "" {
		return failure(wrong)
	}
	there := s.lookLocked(args[1]) != nil
	if condition == "NX" && there || condition == "XX" && !there {
		return null
	}
	s.data.put(&entry{key: args[1], text: args[2], expires: expires, used: s.millisLocked()})
	if len(s.replicas) > 0 {
		effect := []string{"SET", args[1], args[2]}
		if expires != 0 {
			effect = append(effect, "PXAT", strconv.FormatInt(expires, 10))
		}
		s.propagate(effect...)
	}
	return ok
}

func (s *Server) setOptionsLocked(options []string) (expires int64, condition, wrong string) {
	for i := 0; i < len(options); i++ {
		switch option := strings.ToUpper(options[i]); {
		case (option == "NX" || option == "XX") && condition == "":
			condition = option
		case (option == "PX" || option == "EX" || option == "PXAT") && expires == 0 && i+1 < len(options):
			i++
			n, is := integerArgument(options[i])
			if !is {
				return 0, "", errNoInteger
			}
			expires = n
			if option == "EX" {
				n *= 1000
			}
			if option != "PXAT" {
				expires = n + s.millisLocked()
			}
			if n <= 0 || expires <= 0 || expires > 1<<62 {
				return 0, "", "ERR invalid expire time in 'set' command"
			}
		default:
			return 0, "", errSyntax
		}
	}
	return expires, condition, ""
}

func getRange(s *Server, _ *client, args []string) reply {
	from, isFrom := integerArgument(args[2])
	to, isTo := integerArgument(args[3])
	if !isFrom || !isTo {
		return failure(errNoInteger)
	}
	e, wrong, isText := s.textLocked(args[1])
	switch {
	case !isText:
		return wrong
	case e == nil:
		return bulk("")
	}
	return bulk(part(e.text, from, to))
}

// part returns the bytes from one place to another, both included; negative places are
// counted from the end.
func part(text string, from, to int64) string {
	length := int64(len(text))
	if from < 0 && to < 0 && from > to {
		return ""
	}
	if from < 0 {
		from = max(from+length, 0)
	}
	if to < 0 {
		to = max(to+length, 0)
	}
	to = min(to, length-1)
	if from > to || length == 0 {
		return ""
	}
	return text[from : to+1]
}

func setRange(s *Server, _ *client, args []string) reply {
	at, is := integerArgument(args[2])
	if !is {
		return failure(errNoInteger)
	}
	if at < 0 {
		return failure("ERR offset is out of range")
	}
	e, wrong, isText := s.textLocked(args[1])
	if !isText {
		return wrong
	}
	piece := args[3]
	if piece == "" {
		if e == nil {
			return integer(0)
		}
		return integer(int64(len(e.text)))
	}
	if at+int64(len(piece)) > maxBulk {
		return failure("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	}
	if e == nil {
		e = &entry{key: args[1]}
		s.data.put(e)
	}
	s.data.change(e, func(e *entry) { e.text = overwritten(e.text, int(at), piece) })
	s.propagate(args...)
	return integer(int64(len(e.text)))
}

// overwritten returns text with piece in its place, and zeros before it if there was
// nothing.
func overwritten(text string, at int, piece string) string {
	var b strings.Builder
	b.Grow(max(len(text), at+len(piece)))
	b.WriteString(text[:min(at, len(text))])
	for b.Len() < at {
		b.WriteByte(0)
	}
	b.WriteString(piece)
	if rest := at + len(piece); rest < len(text) {
		b.WriteString(text[rest:])
	}
	return b.String()
}
