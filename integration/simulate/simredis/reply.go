package simredis

import "strconv"

// A reply is what a command answers.
type reply struct {
	kind byte
	n    int64
	s    string
	list []reply
}

// Kinds of replies, by the byte that begins them on the wire.
const (
	statusReply  = '+'
	errorReply   = '-'
	integerReply = ':'
	bulkReply    = '$'
	arrayReply   = '*'
	mapReply     = '%' // list has keys and values in turn
	pushReply    = '>'
	nullReply    = '_'

	nullArrayReply = 'n' // version 2 tells it from null
	noReply        = 0   // what was to be said was said already
)

func status(s string) reply     { return reply{kind: statusReply, s: s} }
func failure(s string) reply    { return reply{kind: errorReply, s: s} }
func integer(n int64) reply     { return reply{kind: integerReply, n: n} }
func bulk(s string) reply       { return reply{kind: bulkReply, s: s} }
func array(list ...reply) reply { return reply{kind: arrayReply, list: list} }
func pairs(list ...reply) reply { return reply{kind: mapReply, list: list} }
func (r reply) failed() bool    { return r.kind == errorReply }

var (
	ok   = status("OK")
	null = reply{kind: nullReply}
)

// appendTo appends the reply as version 2 or 3 of the protocol has it.
func (r reply) appendTo(b []byte, protocol int) []byte {
	switch r.kind {
	case noReply:
		return b
	case statusReply, errorReply:
		b = append(append(b, r.kind), r.s...)
		return append(b, "\r\n"...)
	case integerReply:
		b = strconv.AppendInt(append(b, ':'), r.n, 10)
		return append(b, "\r\n"...)
	case bulkReply:
		b = appendLength(b, '$', len(r.s))
		b = append(b, r.s...)
		return append(b, "\r\n"...)
	case nullReply:
		if protocol == 2 {
			return append(b, "$-1\r\n"...)
		}
		return append(b, "_\r\n"...)
	case nullArrayReply:
		if protocol == 2 {
			return append(b, "*-1\r\n"...)
		}
		return append(b, "_\r\n"...)
	case mapReply:
		if protocol == 3 {
			b = appendLength(b, '%', len(r.list)/2)
			break
		}
		b = appendLength(b, '*', len(r.list))
	case pushReply:
		if protocol == 3 {
			b = appendLength(b, '>', len(r.list))
			break
		}
		b = appendLength(b, '*', len(r.list))
	default:
		b = appendLength(b, '*', len(r.list))
	}
	for _, e := range r.list {
		b = e.appendTo(b, protocol)
	}
	return b
}

func appendLength(b []byte, kind byte, n int) []byte {
	b = strconv.AppendInt(append(b, kind), int64(n), 10)
	return append(b, "\r\n"...)
}
