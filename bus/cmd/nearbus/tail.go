package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
)

func tailCommand() *command {
	return &command{
		name: "tail", summary: "print what servers tell each other, as it comes",
		about: `
Prints each invalidation that comes over the bus: when, from whom, what happened, to which keys
of which cache, and under which revision. Values do not travel on the bus. Lines about the bus
itself, and about servers that come and go, are printed beside the output. With -quiet, there are only
those which say that messages may have been missed.`,
		examples: []string{
			"nearbus tail",
			"nearbus tail -cache users -n 10",
			"nearbus tail -format json | jq 'select(.op == \"clear\")'",
		},
		flags: func(fs *flag.FlagSet, inv *invocation) {
			fs.StringVar(&inv.cache, "cache", "", "only what is of the cache with this `name`")
			fs.Lookup("quiet").Usage = "print no progress, and not who comes and goes"
			fs.IntVar(&inv.count, "n", 0, "end after this `number` of invalidations")
		},
		run: tail,
	}
}

// operations are the names of what happens to keys.
var operations = map[bus.Op]string{
	bus.OpSet: "set", bus.OpDelete: "delete", bus.OpInvalidate: "invalidate", bus.OpClear: "clear", bus.OpTag: "invalidate-tags",
}

func tail(ctx context.Context, inv *invocation) error {
	if len(inv.args) > 0 {
		return usagef("what is %q for?", inv.args[0])
	}
	if inv.count < 0 {
		return usagef("-n is negative: %d", inv.count)
	}
	limited, cancel := inv.limited(ctx)
	defer cancel()
	f, err := inv.open(limited)
	if err != nil {
		return err
	}
	defer f.close()
	l, err := f.listen(false)
	if err != nil {
		return err
	}
	defer l.Close()
	printer := &tailPrinter{inv: inv, where: f.channel, at: f.bus, full: make(chan struct{})}
	l.cut, l.back = printer.cut, printer.back
	if err := l.subscribe(printer.apply); err != nil {
		return err
	}
	if err := l.awaitReady(limited); err != nil {
		return err
	}
	return l.follow(ctx, printer)
}

// follow tells of the bus and of servers until it is to end.
func (l *listener) follow(ctx context.Context, printer *tailPrinter) error {
	inv := l.fleet.inv
	known := inv.tellPeers(nil, l.Peers())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-printer.full:
			return nil
		case <-l.changed:
			known = inv.tellPeers(known, l.Peers())
		}
	}
}

// tellPeers tells who came and went, and returns who is there.
func (inv *invocation) tellPeers(known map[uint64]bus.Peer, peers []bus.Peer) map[uint64]bus.Peer {
	now := make(map[uint64]bus.Peer)
	for _, p := range peers {
		now[p.Incarnation] = p
		was, old := known[p.Incarnation]
		switch {
		case p.Silent && (!old || !was.Silent):
			inv.remarkf("-- %s has fallen silent\n", word(p.Node))
		case !p.Silent && !old:
			inv.remarkf("-- %s is there\n", word(p.Node))
		case !p.Silent && was.Silent:
			inv.remarkf("-- %s is heard again\n", word(p.Node))
		}
	}
	for id, was := range known {
		if _, there := now[id]; !there && !was.Silent {
			inv.remarkf("-- %s has left\n", word(was.Node))
		}
	}
	return now
}

// remarkf writes beside the output what -quiet leaves out.
func (inv *invocation) remarkf(format string, args ...any) {
	if !inv.quiet {
		inv.notef(format, args...)
	}
}

// tailPrinter prints messages. It is called from one goroutine at a time.
type tailPrinter struct {
	inv   *invocation
	where string   // it listens
	at    *address // likewise
	count int
	full  chan struct{} // closed when enough is printed

	listening, lost bool // as it was told
}

// cut tells that messages may have been missed.
func (p *tailPrinter) cut(reason error) {
	if p.listening && !p.lost && !errors.Is(reason, bus.ErrClosed) {
		p.inv.notef("-- messages may have been missed: %v\n", reason)
		p.lost = true
	}
}

// back tells that the bus is heard.
func (p *tailPrinter) back() {
	switch {
	case !p.listening:
		p.inv.remarkf("-- listening on %s at %s\n", p.where, p.at)
	case p.lost:
		p.inv.notef("-- the bus is heard again\n")
	}
	p.listening, p.lost = true, false
}

// apply prints a message, of each cache a line.
func (p *tailPrinter) apply(m bus.Message) {
	now := time.Now()
	for len(m.Invalidations) > 0 {
		same := 1
		for same < len(m.Invalidations) && sameLine(&m.Invalidations[0], &m.Invalidations[same]) {
			same++
		}
		part := m.Invalidations[:same]
		m.Invalidations = m.Invalidations[same:]
		if p.inv.cache != "" && part[0].Cache != p.inv.cache {
			continue
		}
		if p.inv.count > 0 {
			if p.count == p.inv.count {
				return
			}
			part = part[:min(len(part), p.inv.count-p.count)]
		}
		p.print(now, &m, part)
		if p.count += len(part); p.count == p.inv.count {
			close(p.full)
		}
	}
}

func sameLine(a, b *bus.Invalidation) bool { return a.Op == b.Op && a.Cache == b.Cache }

// maxKeysShown is how many keys a line of text has.
const maxKeysShown = 20

func (p *tailPrinter) print(now time.Time, m *bus.Message, part []bus.Invalidation) {
	if p.inv.format == "json" {
		for i := range part {
			_ = p.inv.json(tailLine(now, m, &part[i])) // a closed output ends the program
		}
		return
	}
	sender := word(m.Node)
	if m.Text {
		sender = "(text)"
	}
	line := fmt.Sprintf("%s  %-20s %-15s %s", now.Format("15:04:05.000"), sender, operations[part[0].Op], word(part[0].Cache))
	if part[0].Op != bus.OpClear {
		line += " " + keysOf(part[:min(len(part), maxKeysShown)])
	}
	if more := len(part) - maxKeysShown; more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	if last := part[len(part)-1]; last.Revision != 0 {
		line += "  @" + revision(&last)
	}
	p.inv.printf("%s\n", strings.TrimRight(line, " "))
}

func keysOf(part []bus.Invalidation) string {
	keys := make([]string, len(part))
	for i := range part {
		keys[i] = word(part[i].Key)
	}
	return strings.Join(keys, " ")
}

// revision returns the revision of an invalidation, as inspect prints it too.
func revision(inv *bus.Invalidation) string {
	return nearcache.Revision{Epoch: inv.Epoch, Number: inv.Revision}.String()
}

// tailed is an invalidation as JSON.
type tailed struct {
	Time     time.Time `json:"time"`
	Node     string    `json:"node,omitempty"`
	Sender   string    `json:"incarnation,omitempty"`
	Text     bool      `json:"text,omitempty"`
	Op       string    `json:"op"`
	Cache    string    `json:"cache"`
	Key      string    `json:"key,omitempty"`
	KeyBytes []byte    `json:"keyBytes,omitempty"`
	Revision string    `json:"revision,omitempty"`
}

func tailLine(now time.Time, m *bus.Message, inv *bus.Invalidation) tailed {
	line := tailed{
		Time: now, Node: m.Node, Sender: hex(m.Incarnation), Text: m.Text, Op: operations[inv.Op], Cache: inv.Cache, Key: inv.Key,
	}
	if !utf8.ValidString(inv.Key) { // which JSON cannot have in a string
		line.Key, line.KeyBytes = "", []byte(inv.Key)
	}
	if inv.Revision != 0 {
		line.Revision = revision(inv)
	}
	return line
}
