package memcachestore

import (
	"fmt"
	"strings"

	"github.com/nearbus/nearbus/shared/driver"
)

// Options configure a [Store]. The zero value is the production default. All
// application servers of a fleet must have the same.
type Options struct {
	// Namespace keeps fleets apart that share a server: applications, staging and
	// production. It has 1 to 64 of A-Z a-z 0-9 _ -. Give the bus the same. Empty
	// is a namespace as well.
	Namespace string

	// Prefix begins the name of every item, in place of what follows from
	// Namespace: "nearbus", or "nearbus-" and the namespace. It is printable
	// ASCII without spaces and colons, of at most 185 bytes.
	Prefix string

	// MaxItem is the size of the largest item, in bytes, that the servers
	// accept: their option -I. Zero means 1 MiB, which is their default too.
	// It is 1 KiB to 1 GiB.
	MaxItem int
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix, _ = driver.Namespace(o.Namespace) // valid
	}
	if o.MaxItem == 0 {
		o.MaxItem = 1 << 20
	}
	return o
}

func (o Options) validate() error {
	if _, err := driver.Namespace(o.Namespace); err != nil {
		return fmt.Errorf("memcachestore: Options.Namespace: %w", err)
	}
	if o.Namespace != "" && o.Prefix != "" {
		return fmt.Errorf("memcachestore: Options.Namespace %q and Options.Prefix %q exclude each other", o.Namespace, o.Prefix)
	}
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
