package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nearbus/nearbus/nearcache"
)

func inspectCommand() *command {
	return &command{
		name: "inspect", args: "CACHE KEY", summary: "say what the shared tier has of a key, and what its newest journal entry is",
		about: `
Reads the record of a key and the newest entry of the journal about it, and says in a sentence what
the record is to the servers: a value, that there is none, a tombstone, a lease, or ended by a clear or
by a tag. Changes nothing. What a server has near, that server alone can say: Cache.Inspect, and the
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
	limited, cancel := context.WithTimeout(ctx, inv.timeout)
	defer cancel()
	identity, err := tier.KnownIdentity(limited)
	if err != nil {
		return fmt.Errorf("the shared tier at %s: %w", f.store, err)
	}
	opts := nearcache.InspectOptions{Journal: inv.count, Values: inv.value}
	if inv.tags != "" {
		opts.Tags = strings.Split(inv.tags, ",")
	}
	found, err := nearcache.InspectShared(limited, tier, inv.args[0], inv.args[1], opts)
	if err != nil {
		return fmt.Errorf("the shared tier at %s: %w", f.store, err)
	}
	if inv.format == "json" {
		return inv.json(found)
	}
	value, _ := found.Value.([]byte)
	found.Value = nil // its text is ours
	inv.printf("%s\n", found)
	if inv.value && value != nil {
		inv.printf("value: %s\n", printable(value))
	}
	if identity == 0 {
		inv.notef("nearbus inspect: no server has used this namespace and number of partitions here yet\n")
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
