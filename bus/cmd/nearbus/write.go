package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

const writeAbout = `
First asks which servers are there, and whether they have the shared tier that is given; ends with 1
and changes nothing if nobody is there. Then writes to the shared tier and tells all servers, and
asks each whether it has applied that. Prints how many have. Ends with 1 if one has not within
-timeout; it is named, and applies it once it reads the journal.

A name that no server has a cache of is refused; -force does it all the same.`

const keysAbout = `
With - alone behind CACHE, keys or tags are read from the input, one a line.`

func writeCommand(name, args, summary, about string, examples []string, do func(context.Context, *nearcache.Cache[[]byte], []string) error) *command {
	return &command{
		name: name, args: args, summary: summary, about: about + writeAbout, examples: examples,
		flags: func(fs *flag.FlagSet, inv *invocation) {
			fs.BoolVar(&inv.force, "force", false, "write also where no server has a cache of the name")
			fs.IntVar(&inv.atLeast, "at-least", 1, "the `number` of servers that must have applied it: one that is cut off is not there to be asked")
		},
		run: func(ctx context.Context, inv *invocation) error {
			w := &write{inv: inv, do: do, op: name, keyed: name != "clear"}
			if err := w.arguments(ctx); err != nil {
				return err
			}
			return w.run(ctx)
		},
	}
}

func invalidateCommand() *command {
	return writeCommand("invalidate", "CACHE KEY...", "say that values are stale, in the shared tier and on every server",
		"Makes every server load the keys anew. Where the cache has Stale.For, old values stay for those who\ncan get no other."+keysAbout,
		[]string{"nearbus invalidate users 42 43", "psql -At -c 'select id from changed' | nearbus invalidate users -"},
		func(ctx context.Context, c *nearcache.Cache[[]byte], keys []string) error {
			return c.Invalidate(ctx, keys...)
		})
}

func deleteCommand() *command {
	return writeCommand("delete", "CACHE KEY...", "remove values, in the shared tier and on every server",
		"Removes the values of the keys; nobody gets an old one."+keysAbout,
		[]string{"nearbus delete users 42"},
		func(ctx context.Context, c *nearcache.Cache[[]byte], keys []string) error {
			return c.Delete(ctx, keys...)
		})
}

func tagsCommand() *command {
	return writeCommand("invalidate-tags", "CACHE TAG...", "say that all values with a tag are stale",
		"Makes every server load anew what has one of the tags."+keysAbout,
		[]string{"nearbus invalidate-tags users org:7"},
		func(ctx context.Context, c *nearcache.Cache[[]byte], tags []string) error {
			return c.InvalidateTags(ctx, tags...)
		})
}

func clearCommand() *command {
	return writeCommand("clear", "CACHE", "remove all values of a cache",
		"Ends all values of the cache in one step, whatever their number: all of them are loaded anew.",
		[]string{"nearbus clear users"},
		func(ctx context.Context, c *nearcache.Cache[[]byte], _ []string) error { return c.Clear(ctx) })
}

// write is what changes something.
type write struct {
	inv   *invocation
	op    string
	keyed bool
	do    func(context.Context, *nearcache.Cache[[]byte], []string) error

	cache string
	keys  []string

	fleet   *fleet
	peers   []bus.Peer
	options map[uint64][]bus.Setting
}

// arguments checks what was typed.
func (w *write) arguments(ctx context.Context) error {
	args := w.inv.args
	if w.inv.atLeast < 1 {
		return usagef("-at-least is %d, less than 1", w.inv.atLeast)
	}
	if len(args) == 0 || args[0] == "" {
		return usagef("of which cache?")
	}
	w.cache, w.keys = args[0], args[1:]
	if err := checkCache(w.cache); err != nil {
		return err
	}
	switch {
	case !w.keyed && len(w.keys) > 0:
		return usagef("%s takes no keys, but ends all of a cache: delete takes keys", w.op)
	case w.keyed && slices.Equal(w.keys, []string{"-"}):
		return w.readKeys(ctx)
	case w.keyed && slices.Contains(w.keys, "-"):
		return usagef("- has the keys read from the input, and stands alone")
	case w.keyed && len(w.keys) == 0:
		return usagef("which keys? There are none behind the cache %s, and clear is for all of them", word(w.cache))
	}
	return w.checkKeys()
}

// checkKeys refuses keys and tags that no server takes, before anything is written.
func (w *write) checkKeys() error {
	for _, key := range w.keys {
		err := checkKey(w.cache, key)
		if w.op == "invalidate-tags" {
			err = checkTag(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxLine is the longest line that is read as a key.
const maxLine = 64 << 10

// readKeys reads keys, one a line, unless ctx ends: the goroutine that reads ends with the input
// then, or with the program.
func (w *write) readKeys(ctx context.Context) error {
	w.keys = nil
	type input struct {
		keys []string
		err  error
	}
	done, in := make(chan input, 1), w.inv.in
	go func() {
		keys, err := linesOf(in)
		done <- input{keys, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case read := <-done:
		switch w.keys = read.keys; {
		case read.err != nil:
			return fmt.Errorf("the keys cannot be read: %w", read.err)
		case len(w.keys) == 0:
			return coded{exitFailed, "there are no keys on the input: nothing was done"}
		}
	}
	return w.checkKeys()
}

// linesOf returns the lines of an input that are not empty.
func linesOf(in io.Reader) (all []string, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		if line := strings.TrimSuffix(lines.Text(), "\r"); line != "" {
			all = append(all, line)
		}
	}
	return all, lines.Err()
}

func (w *write) run(ctx context.Context) error {
	ctx, cancel := w.inv.limited(ctx)
	defer cancel()
	f, err := w.inv.open(ctx)
	if err != nil {
		return err
	}
	defer f.close()
	w.fleet = f
	l, peers, err := f.meet(ctx, true)
	if errors.Is(err, errAlone) {
		return fmt.Errorf("%w Nothing was done", err)
	}
	if err != nil {
		return err
	}
	defer l.leave(ctx)
	w.peers = peers
	if w.options, err = l.options(ctx, peers); err == nil {
		err = w.allowed(ctx)
	}
	if err == nil && len(peers) < w.inv.atLeast {
		err = fmt.Errorf("%s there, not the %d of -at-least. Nothing was done", areThere(len(peers)), w.inv.atLeast)
	}
	if err != nil {
		return err
	}
	l.Unsubscribe()
	return w.write(ctx, l.Bus)
}

// allowed refuses what would not reach the servers, or nothing that they have.
func (w *write) allowed(ctx context.Context) error {
	tiered := slices.ContainsFunc(w.peers, func(p bus.Peer) bool { return p.About.Tier != 0 })
	switch {
	case tiered && w.fleet.store == nil:
		return usagef("the servers have a shared tier, which has to be told as well: give its URL by -store or %s", variable("store"))
	case w.fleet.store != nil && tiered:
		foreign, err := w.fleet.foreign(ctx, w.peers)
		if err != nil {
			return err
		}
		if len(foreign) > 0 {
			return fmt.Errorf("the shared tier at %s is not that of %s: compare host, database, -namespace and -partitions with theirs. Nothing was done",
				w.fleet.store, few(foreign))
		}
	}
	if names := cachesOf(w.options); !w.inv.force && !hasCache(names, w.cache) {
		return fmt.Errorf("%s. Nothing was done: see -force", noCache(names, w.cache))
	}
	return nil
}

func areThere(n int) string {
	if n == 1 {
		return "1 server is"
	}
	return fmt.Sprintf("%d servers are", n)
}

// option returns the value of an option that some server has.
func (w *write) option(cache, option string) string {
	for _, settings := range w.options {
		for _, s := range settings {
			if s.Cache == cache && s.Option == option {
				return s.Value
			}
		}
	}
	return ""
}

// write writes, as a server would that has the options of the others, and waits for them.
func (w *write) write(ctx context.Context, b *bus.Bus) error {
	began := time.Now()
	tier, err := w.fleet.tier(w.option("!node", "journals") != "0")
	if err != nil {
		return err
	}
	if tier != nil {
		defer tier.Close()
	}
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{NearBytes: 1 << 20})
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	defer node.Close(over) // what is pending is told as an error
	stale, _ := time.ParseDuration(w.option(w.cache, "FailSafe"))
	cache, err := nearcache.New(node, w.cache, nearcache.Options[[]byte]{Codec: shared.Raw, Stale: nearcache.Stale{For: stale}})
	if err != nil {
		return usageError{err}
	}
	p := w.inv.progress(w.op + ": waiting for " + plural(len(w.peers), "server"))
	err = w.do(ctx, cache, w.keys)
	applied := 0
	if err == nil {
		applied, err = node.Barrier(ctx, nearcache.BarrierOptions{AtLeast: max(len(w.peers), w.inv.atLeast)})
	}
	p.stop()
	return w.report(ctx, applied, time.Since(began), err)
}

// written is what a write prints as JSON.
type written struct {
	Op      string   `json:"op"`
	Cache   string   `json:"cache"`
	Keys    int      `json:"keys"`
	Servers int      `json:"servers"`
	Applied int      `json:"applied"`
	Missing []string `json:"missing,omitempty"`
	Failed  []string `json:"failed,omitempty"`
	Error   string   `json:"error,omitempty"`
	Seconds float64  `json:"seconds"`
}

// report tells what became of the write. ctx is cancelled when the program is interrupted.
func (w *write) report(ctx context.Context, applied int, took time.Duration, err error) error {
	r := written{Op: w.op, Cache: w.cache, Keys: len(w.keys), Servers: max(len(w.peers), applied), Applied: applied, Seconds: took.Seconds()}
	var barrier *bus.BarrierError
	var failed nearcache.KeysError
	switch {
	case errors.As(err, &barrier):
		r.Missing = barrier.Missing
		r.Servers = max(r.Servers, applied+len(r.Missing))
		r.Error = w.unconfirmed(ctx, &r)
	case errors.As(err, &failed):
		for key := range failed {
			r.Failed = append(r.Failed, key)
		}
		slices.Sort(r.Failed)
		r.Error = err.Error()
	case err != nil:
		r.Error = err.Error()
	}
	if w.inv.format == "json" {
		if err := w.inv.json(r); err != nil {
			return err
		}
	} else if err == nil {
		w.inv.printf("%s; %d of %s applied it (%v)\n", w.what(), applied, plural(r.Servers, "server"), rounded(took))
	}
	switch {
	case err == nil:
		return nil
	case interrupted(ctx):
		return coded{exitInterrupted, "interrupted: " + r.Error}
	}
	return coded{exitFailed, r.Error}
}

// unconfirmed says how far a write came that not all servers have confirmed.
func (w *write) unconfirmed(ctx context.Context, r *written) string {
	text := fmt.Sprintf("%d of %s applied it", r.Applied, plural(r.Servers, "server"))
	switch {
	case interrupted(ctx):
		text += " so far"
	case len(r.Missing) > 0:
		text += fmt.Sprintf("; no answer from %s within %v", few(r.Missing), w.inv.timeout)
	case r.Applied < r.Servers:
		text += fmt.Sprintf(" within %v", w.inv.timeout)
	default: // the command must listen for bus.Options.HeartbeatTimeout to know who is there
		text += fmt.Sprintf("; %v was too short to hear whether other servers are there: give a longer -timeout", w.inv.timeout)
	}
	if w.fleet.store != nil {
		text += ". The shared tier has it: who reads that journal applies it within its JournalInterval"
	}
	return text
}

// what says what was written.
func (w *write) what() string {
	switch w.op {
	case "clear":
		return "cleared " + word(w.cache)
	case "delete":
		return fmt.Sprintf("deleted %s of %s", plural(len(w.keys), "key"), word(w.cache))
	case "invalidate-tags":
		return fmt.Sprintf("invalidated %s of %s", plural(len(w.keys), "tag"), word(w.cache))
	}
	return fmt.Sprintf("invalidated %s of %s", plural(len(w.keys), "key"), word(w.cache))
}
