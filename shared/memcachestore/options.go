package memcachestore

import (
	"fmt"
	"strings"
)

// Options configure a [Store]. The zero value is the production default. All
// application servers of a fleet must have the same.
type Options struct {
	// Prefix begins the name of every item. Empty means "nearbus". It is
	// printable ASCII without spaces and colons, of at most 185 bytes.
	Prefix string

	// MaxItem is the size of the largest item, in bytes, that the servers
	// accept: their option -I. Zero means 1 MiB, which is their default too.
	// It is 1 KiB to 1 GiB.
	MaxItem int
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = "nearbus"
	}
	if o.MaxItem == 0 {
		o.MaxItem = 1 << 20
	}
	return o
}

func (o Options) validate() error {
	if len(o.Prefix) > maxPrefix {
		return fmt.Errorf("memcachestore: Options.Prefix has %d bytes, more than %d", len(o.Prefix), maxPrefix)
	}
	if !printable(o.Prefix) || strings.Contains(o.Prefix, ":") {
		return fmt.Errorf("memcachestore: Options.Prefix %q is not printable ASCII without spaces and colons", o.Prefix)
	}
	if o.MaxItem != 0 && (o.MaxItem < 1<<10 || o.MaxItem > 1<<30) {
		return fmt.Errorf("memcachestore: Options.MaxItem is %d, not in 1024 to 1073741824", o.MaxItem)
	}
	return nil
}
