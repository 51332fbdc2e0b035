package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nearbus/nearbus/bus"
)

func nodesCommand() *command {
	return &command{
		name: "nodes", summary: "ask which servers are there, and whether they are set up alike",
		about: `
Asks who is there; every server answers within a round trip. Prints a line for each: its name, the
version of its protocol, and the beginnings of the identity of its shared tier, of the hash of its
namespace, and of the digest of its options. With -store, the identity is compared with that of the
shared tier that is given. Ends with 1 if nobody is there, or if they are not set up alike.

Servers of a version before the question do not answer it; -wait 2s hears their heartbeats.`,
		examples: []string{"nearbus nodes", "nearbus nodes -wait 2s -format json"},
		flags: func(fs *flag.FlagSet, inv *invocation) {
			fs.DurationVar(&inv.wait, "wait", 0, "listen for this `time` before asking")
		},
		run: nodes,
	}
}

func nodes(ctx context.Context, inv *invocation) error {
	if len(inv.args) > 0 {
		return usagef("what is %q for?", inv.args[0])
	}
	if inv.wait < 0 {
		return usagef("-wait is negative: %v", inv.wait)
	}
	ctx, cancel := inv.limited(ctx)
	defer cancel()
	f, err := inv.open(ctx)
	if err != nil {
		return err
	}
	defer f.close()
	l, peers, err := f.meet(ctx, false)
	if err != nil {
		return err
	}
	defer l.leave(ctx)
	differ, err := l.differences(ctx, peers)
	if err != nil {
		return err
	}
	if f.store != nil {
		foreign, err := f.foreign(ctx, peers)
		if err != nil {
			return err
		}
		if len(foreign) > 0 {
			differ = append(differ, fmt.Sprintf("the shared tier at %s is not that of %s", f.store, few(foreign)))
		}
	}
	if inv.format == "json" {
		err = inv.json(nodesReport{Servers: reported(peers), Differences: differ, Alike: len(differ) == 0})
	} else {
		printNodes(inv, peers, differ)
	}
	if err == nil && len(differ) > 0 {
		return coded{code: exitFailed}
	}
	return err
}

// meet listens, as listen does, and asks who is there, up to the deadline of ctx. Who calls it closes
// the listener.
func (f *fleet) meet(ctx context.Context, publishes bool) (l *listener, peers []bus.Peer, err error) {
	if l, err = f.listen(publishes); err != nil {
		return nil, nil, err
	}
	if err = l.subscribe(func(bus.Message) {}); err == nil {
		err = l.awaitReady(ctx)
	}
	if err == nil {
		peers, err = l.roll(ctx)
	}
	if err != nil {
		l.leave(ctx)
		return nil, nil, err
	}
	return l, peers, nil
}

// foreign returns the names of those whose shared tier is another one than that of -store.
func (f *fleet) foreign(ctx context.Context, peers []bus.Peer) (names []string, err error) {
	tier, err := f.tier(false)
	if err != nil {
		return nil, err
	}
	defer tier.Close()
	own, err := tier.KnownIdentity(ctx)
	if err != nil {
		return nil, fmt.Errorf("the shared tier at %s: %w", f.store, err)
	}
	for _, p := range peers {
		if p.About.Tier != 0 && p.About.Tier != own {
			names = append(names, p.Node)
		}
	}
	return names, nil
}

// differences says in what peers are not set up alike, a sentence each.
func (l *listener) differences(ctx context.Context, peers []bus.Peer) ([]string, error) {
	var all []string
	for _, kind := range []struct {
		what string
		of   func(*bus.Peer) uint64
	}{
		{"another namespace than others", func(p *bus.Peer) uint64 { return p.About.Namespace }},
		{"another shared tier than others", func(p *bus.Peer) uint64 { return p.About.Tier }},
	} {
		for _, group := range others(peers, kind.of) {
			all = append(all, namesOf(group)+" "+have(len(group))+" "+kind.what)
		}
	}
	digests := make(map[uint64][]bus.Peer)
	for _, p := range peers {
		digests[p.About.Options] = append(digests[p.About.Options], p)
	}
	delete(digests, 0)
	if len(digests) < 2 {
		return all, nil
	}
	options, err := l.options(ctx, peers)
	return append(all, unlikeOptions(digests, options)...), err
}

// others groups peers by a number that they should have in common, 0 for those who tell none, and
// returns all groups but the largest.
func others(peers []bus.Peer, of func(*bus.Peer) uint64) (groups [][]bus.Peer) {
	by := make(map[uint64][]bus.Peer)
	for i := range peers {
		if n := of(&peers[i]); n != 0 {
			by[n] = append(by[n], peers[i])
		}
	}
	groups = slices.SortedFunc(maps.Values(by), func(a, b []bus.Peer) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a[0].Node, b[0].Node))
	})
	return groups[min(1, len(groups)):]
}

// optionPlace is an option of a cache.
type optionPlace struct{ cache, option string }

// unlikeOptions says which options of servers differ, of the caches that they have in common.
func unlikeOptions(digests map[uint64][]bus.Peer, options map[uint64][]bus.Setting) (all []string) {
	values := make(map[optionPlace]map[string][]bus.Peer)
	for digest, settings := range options {
		for _, s := range settings {
			at := optionPlace{s.Cache, s.Option}
			if values[at] == nil {
				values[at] = make(map[string][]bus.Peer)
			}
			values[at][s.Value] = append(values[at][s.Value], digests[digest]...)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(values), func(a, b optionPlace) int {
		return cmp.Or(strings.Compare(a.cache, b.cache), strings.Compare(a.option, b.option))
	}) {
		if len(values[at]) < 2 {
			continue
		}
		var parts []string
		for _, value := range slices.Sorted(maps.Keys(values[at])) {
			parts = append(parts, fmt.Sprintf("%s on %s", word(value), namesOf(values[at][value])))
		}
		of := "cache " + word(at.cache)
		if at.cache == "!node" {
			of = "servers"
		}
		all = append(all, fmt.Sprintf("%s: %s is %s", of, at.option, strings.Join(parts, ", ")))
	}
	return all
}

func have(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

func namesOf(peers []bus.Peer) string {
	names := make([]string, len(peers))
	for i := range peers {
		names[i] = peers[i].Node
	}
	slices.Sort(names)
	return few(names)
}

// nodesReport is what nodes prints as JSON.
type nodesReport struct {
	Servers     []reportedNode `json:"servers"`
	Differences []string       `json:"differences"`
	Alike       bool           `json:"alike"`
}

type reportedNode struct {
	Node        string    `json:"node"`
	Incarnation string    `json:"incarnation"`
	Version     int       `json:"version"`
	Tier        string    `json:"tier,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Options     string    `json:"options,omitempty"`
	Heard       time.Time `json:"heard"`
}

func reported(peers []bus.Peer) []reportedNode {
	all := make([]reportedNode, len(peers))
	for i, p := range peers {
		all[i] = reportedNode{
			Node: p.Node, Incarnation: hex(p.Incarnation), Version: p.Version, Heard: p.Heard,
			Tier: hex(p.About.Tier), Namespace: hex(p.About.Namespace), Options: hex(p.About.Options),
		}
	}
	return all
}

func printNodes(inv *invocation, peers []bus.Peer, differ []string) {
	w := tabwriter.NewWriter(inv.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "SERVER\tINCARNATION\tPROTOCOL\tSHARED TIER\tNAMESPACE\tOPTIONS")
	for _, p := range peers {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", word(p.Node), number(p.Incarnation), p.Version,
			number(p.About.Tier), number(p.About.Namespace), number(p.About.Options))
	}
	_ = w.Flush()
	for _, text := range differ {
		inv.printf("%s\n", text)
	}
	if len(differ) == 0 {
		inv.printf("%s, set up alike\n", plural(len(peers), "server"))
	}
}
