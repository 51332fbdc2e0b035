package nearcache

import (
	"reflect"
)

// Cache is a named, typed view over a [Node]. It is safe for use by many
// goroutines. Values that come from the near tier are shared by all callers,
// who must not change what they point to, unless Options.Clone is set.
type Cache[V any] struct {
	pipeline[V]
	touches    touching
	refreshing refreshing
}

// New returns the cache of this name on node. Caches of one name on the nodes
// of a fleet are one cache; they must have one type and should have one set of
// options. A node has one cache of a name at a time, see [Cache.Close]; the name has 1 to 64 of A-Z a-z 0-9 . _ -
// and begins with a letter or a digit. A key has 1 to 1024 - len(name) - 1 bytes
// of any kind.
//
// A type of which the codec says that it can keep no value is an error, and fields of the type
// that the codec does not store are logged: see [shared.Inspector]. JSON says nothing of types that
// it cannot encode: then Set fails.
func New[V any](node *Node, name string, opts Options[V]) (*Cache[V], error) {
	c := &Cache[V]{}
	c.with, c.typed = opts, &c.values
	c.readThrough(&opts)
	if err := c.open(node, name, opts.plain(), opts.Tags != nil, reflect.TypeFor[V]()); err != nil {
		return nil, err
	}
	return c, nil
}

// readThrough has reads load by the loaders of opts.
func (c *pipeline[V]) readThrough(opts *Options[V]) {
	if opts.BatchLoader != nil {
		c.several = c.loadEntries(opts.BatchLoader)
		c.single = c.several
	}
	if opts.Loader != nil {
		c.single = c.loadEntry(opts.Loader)
	}
	if c.single != nil {
		c.keys.Tags.Expect()
	}
}

// hit returns the entry that the near tier may serve, or nil. This is the hot
// path: a hash, a look into the index, a counter. It returns the entry so that
// a value is copied once.
func (c *pipeline[V]) hit(key string, hash uint64) *entry[V] {
	e := c.keys.Space.Find(key, hash)
	if e == nil {
		return nil
	}
	c.hits.add()
	e.Hit()
	return entryOf[V](e)
}
