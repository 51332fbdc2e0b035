package nearcache

import (
	"fmt"
	"unsafe"
)

// Cache is a named, typed view over a [Node]. It is safe for use by many
// goroutines. Values that come from the near tier are shared by all callers,
// who must not change what they point to, unless Options.Clone is set.
type Cache[V any] struct{ pipeline[V] }

// New returns the cache of this name on node. Caches of one name on the nodes
// of a fleet are one cache; they must have one type and should have one set of
// options. A node has one cache of a name, which has 1 to 64 of A-Z a-z 0-9 . _ -
// and begins with a letter or a digit. A key has 1 to 1024 - len(name) - 1 bytes
// of any kind.
//
// A type of which the codec can keep no value is an error, and fields of it that the
// codec does not store are logged: see [shared.Inspector].
func New[V any](node *Node, name string, opts Options[V]) (*Cache[V], error) {
	if node == nil {
		return nil, fmt.Errorf("nearcache: New %q: the node is nil", name)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults(node.core.Bus != nil)
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if err := opts.validateLag(node.core); err != nil {
		return nil, err
	}
	c := &Cache[V]{}
	c.opts = opts
	c.init(node.core, name, opts.settings(), opts.LoadTimeout, opts.MaxConcurrentLoads)
	dropped, err := c.inspect()
	if err != nil {
		return nil, err
	}
	c.calls.init()
	c.late = opts.NotFoundTTL > 0 || opts.FailSafe > 0 || opts.RefreshAhead > 0
	if opts.RefreshAhead > 0 {
		c.refreshes = make(chan struct{}, maxRefreshes)
	}
	if err := node.core.Join(&c.keys); err != nil {
		return nil, err
	}
	c.warnDropped(dropped)
	return c, nil
}

// hit returns the entry that the near tier may serve, or nil. This is the hot
// path: a hash, a look into the index, a counter. It returns the entry so that
// a value is copied once.
func (c *pipeline[V]) hit(key string, hash uint64) *entry[V] {
	e := c.keys.Space.Find(key, hash)
	if e == nil {
		return nil
	}
	if c.node.Near.Notes(c.hits.add()) {
		c.node.Near.Touch(hash, e)
	}
	return (*entry[V])(unsafe.Pointer(e))
}
