package simredis

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A streamID is the number of an entry of a stream.
type streamID struct{ ms, seq uint64 }

func (id streamID) compare(other streamID) int {
	return cmp.Or(cmp.Compare(id.ms, other.ms), cmp.Compare(id.seq, other.seq))
}

func (id streamID) String() string {
	return strconv.FormatUint(id.ms, 10) + "-" + strconv.FormatUint(id.seq, 10)
}

var lastID = streamID{math.MaxUint64, math.MaxUint64}

// parseID reads an id, whose second half may be missing.
func parseID(s string, missing uint64) (id streamID, valid bool) {
	switch s {
	case "-":
		return streamID{}, true
	case "+":
		return lastID, true
	}
	first, second, both := strings.Cut(s, "-")
	id.seq = missing
	var err1, err2 error
	id.ms, err1 = strconv.ParseUint(first, 10, 64)
	if both {
		id.seq, err2 = strconv.ParseUint(second, 10, 64)
	}
	return id, err1 == nil && err2 == nil
}

// A streamEntry has fields and values in turn.
type streamEntry struct {
	id     streamID
	fields []string
}

func (e streamEntry) reply() reply {
	fields := make([]reply, len(e.fields))
	for i, f := range e.fields {
		fields[i] = bulk(f)
	}
	return array(bulk(e.id.String()), array(fields...))
}

// Redis keeps the entries of a stream in nodes of so many entries and bytes:
// stream-node-max-entries and stream-node-max-bytes. A length that is to be kept about
// (MAXLEN ~) is kept by whole nodes, so many entries at a time.
const (
	nodeEntries = 100
	nodeBytes   = 4096
	trimEntries = 100 * nodeEntries
)

type streamNode struct {
	entries []streamEntry // never changed, only added to
	bytes   int           // as Redis packs it
}

type stream struct {
	nodes  []*streamNode
	length int
	added  uint64
	last   streamID
	bytes  int // of the nodes
}

// clone returns a copy. Entries are shared: they do not change.
func (s *stream) clone() *stream {
	if s == nil {
		return nil
	}
	c := *s
	c.nodes = make([]*streamNode, len(s.nodes))
	for i, n := range s.nodes {
		c.nodes[i] = &streamNode{entries: slices.Clip(n.entries), bytes: n.bytes}
	}
	return &c
}

// add appends an entry, whose id is higher than all before.
func (s *stream) add(e streamEntry) {
	total := 0
	for _, f := range e.fields {
		total += len(f)
	}
	var node *streamNode
	if len(s.nodes) > 0 {
		node = s.nodes[len(s.nodes)-1]
	}
	if node == nil || node.bytes+total >= nodeBytes || len(node.entries) >= nodeEntries {
		node = &streamNode{bytes: packedNode(e)}
		s.nodes = append(s.nodes, node)
		s.bytes += node.bytes
	}
	node.entries = append(node.entries, e)
	size := packedEntry(e, node.entries[0])
	node.bytes += size
	s.bytes += size
	s.length++
	s.added++
	s.last = e.id
}

// trim removes whole nodes while more than length entries are left without them.
func (s *stream) trim(length int) {
	removed, n := 0, 0
	for n < len(s.nodes) && s.length > length {
		entries := len(s.nodes[n].entries)
		if removed+entries > trimEntries || s.length-entries < length {
			break
		}
		removed += entries
		s.length -= entries
		s.bytes -= s.nodes[n].bytes
		n++
	}
	s.nodes = slices.Delete(s.nodes, 0, n)
}

// between returns up to count entries from one id to another, both included; all for a
// negative count.
func (s *stream) between(from, to streamID, count int) (found []streamEntry) {
	at := sort.Search(len(s.nodes), func(i int) bool {
		entries := s.nodes[i].entries
		return entries[len(entries)-1].id.compare(from) >= 0
	})
	for _, node := range s.nodes[at:] {
		first := sort.Search(len(node.entries), func(i int) bool { return node.entries[i].id.compare(from) >= 0 })
		for _, e := range node.entries[first:] {
			if e.id.compare(to) > 0 || len(found) == count {
				return found
			}
			found = append(found, e)
		}
	}
	return found
}

// betweenBack is between with the highest id first.
func (s *stream) betweenBack(from, to streamID, count int) (found []streamEntry) {
	at := sort.Search(len(s.nodes), func(i int) bool { return s.nodes[i].entries[0].id.compare(to) > 0 })
	for _, node := range slices.Backward(s.nodes[:at]) {
		for _, e := range slices.Backward(node.entries) {
			if e.id.compare(to) > 0 {
				continue
			}
			if e.id.compare(from) < 0 || len(found) == count {
				return found
			}
			found = append(found, e)
		}
	}
	return found
}

// first returns the lowest id.
func (s *stream) first() streamID {
	if s.length == 0 {
		return streamID{}
	}
	return s.nodes[0].entries[0].id
}
