package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
)

func inspectCommand() *command {
	return &command{
		name: "inspect", args: "CACHE KEY", summary: "say what the shared tier has of a key, and what its newest journal entry is",
		about: `
Reads the record of a key and the newest entry of the journal about it, and says in a sentence what
the record is to the servers: a value, that there is none, a tombstone, a lease, or ended by a clear or
by a tag. Changes nothing. If there is nothing, asks the servers whether they have such a cache, and
ends with 1 if none has. What a server has near, that server alone can say: Cache.Inspect, and the
page of package neardebug.

The value is printed only with -value, as it is stored.`,
		examples: []string{"nearbus inspect users 42", "nearbus inspect -value -tags org:7,admins users 42"},
		flags: func(fs *flag.FlagSet, inv *invocation) {
			fs.BoolVar(&inv.value, "value", false, "print the value as well")
			fs.IntVar(&inv.count, "entries", 0, "how many of the newest `entries` of the journal are searched (default 1000)")
			fs.StringVar(&inv.tags, "tags", "", "`names` of tags, with commas in between, to be shown by their names")
		},
		run: inspect,
	}
}

func inspect(ctx context.Context, inv *invocation) error {
	if len(inv.args) != 2 {
		return usagef("want a cache and a key, not %s", plural(len(inv.args), "argument"))
	}
	if inv.count < 0 {
		return usagef("-entries is negative: %d", inv.count)
	}
	if err := cmp.Or(checkCache(inv.args[0]), checkKey(inv.args[0], inv.args[1])); err != nil {
		return err
	}
	f, err := inv.openStore()
	if err != nil {
		return err
	}
	defer f.close()
	if f.store == nil {
		return usagef("where is the shared tier? Give -store or %s", variable("store"))
	}
	tier, err := f.tier(true)
	if err != nil {
		return err
	}
	defer tier.Close()
	ctx, cancel := inv.limited(ctx)
	defer cancel()
	identity, err := tier.KnownIdentity(ctx)
	if err != nil {
		return fmt.Errorf("the shared tier at %s: %w", f.store, err)
	}
	opts := nearcache.InspectOptions{Journal: inv.count, Values: inv.value}
	if inv.tags != "" {
		opts.Tags = strings.Split(inv.tags, ",")
	}
	found, err := nearcache.InspectShared(ctx, tier, inv.args[0], inv.args[1], opts)
	if err != nil {
		return fmt.Errorf("the shared tier at %s: %w", f.store, err)
	}
	switch {
	case identity == 0:
		inv.notef("nearbus inspect: no server has used this namespace and number of partitions here yet\n")
	case found.Kind == "none" && !found.Journal.Found:
		if err := f.knownCache(ctx, inv.args[0]); err != nil {
			return err
		}
	}
	return inv.printInspection(found)
}

// knownCache refuses a cache that no server has. If nobody can be asked, it says so.
func (f *fleet) knownCache(ctx context.Context, cache string) error {
	options, err := f.askOptions(ctx)
	switch names := cachesOf(options); {
	case interrupted(ctx):
		return ctx.Err()
	case err != nil:
		f.inv.notef("nearbus inspect: it is not known whether a server has a cache %s: %s\n", word(cache), tell(err))
	case !hasCache(names, cache):
		return errors.New(noCache(names, cache))
	}
	return nil
}

// askOptions opens the bus, and asks all servers for their options.
func (f *fleet) askOptions(ctx context.Context) (map[uint64][]bus.Setting, error) {
	if err := f.openBus(ctx); err != nil {
		return nil, err
	}
	l, peers, err := f.meet(ctx, false)
	if err != nil {
		return nil, err
	}
	defer l.leave(ctx)
	return l.options(ctx, peers)
}

func (inv *invocation) printInspection(found nearcache.SharedInspection) error {
	if inv.format == "json" {
		return inv.json(found)
	}
	value, _ := found.Value.([]byte)
	found.Value = nil // its text is ours
	inv.printf("%s", found)
	if inv.value && value != nil {
		inv.printf("value: %s\n", printable(value))
	}
	return nil
}

// printable returns a value as it can be shown.
func printable(value []byte) string {
	text := string(value)
	if utf8.ValidString(text) && word(text) == text {
		return text
	}
	return strconv.Quote(text)
}
