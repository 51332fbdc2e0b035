package nearcache

import "fmt"

// give returns v, the value of key, as a caller may have it: its own copy, with Options.Clone.
func (c *Cache[V]) give(key string, v V) (V, error) {
	if c.opts.Clone == nil {
		return v, nil
	}
	return c.clone(key, v)
}

// clone calls Options.Clone.
func (c *Cache[V]) clone(key string, v V) (own V, err error) {
	err = c.keys.guard(callbackClone, key, func() error {
		own = c.opts.Clone(v)
		return nil
	})
	if err != nil {
		return *new(V), fmt.Errorf("nearcache: cache %q: clone: %w", c.keys.name, err)
	}
	return own, nil
}
