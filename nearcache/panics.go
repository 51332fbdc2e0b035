package nearcache

import (
	"cmp"
	"runtime/debug"
)

// guard calls f and turns a panic, or an end of the goroutine, into an error, of which
// it tells. f calls callback for key; both may be empty.
func guard(callback, key string, tell func(*PanicError), f func() error) (err error) {
	returned := false
	defer func() {
		if !returned {
			p := &PanicError{Callback: callback, Key: key, Value: recover(), Stack: debug.Stack()}
			tell(p)
			err = p
		}
	}()
	err = f()
	returned = true
	return err
}

// guard is guard that tells the log: the error may reach nobody.
func (k *keyspace) guard(callback, key string, f func() error) error {
	return guard(callback, key, k.panicked, f)
}

// panicked counts a panic, and logs the first of the cache. What was passed to panic
// may carry a value.
func (k *keyspace) panicked(p *PanicError) {
	if k.panics.Add(1) > 1 {
		return
	}
	how := "panicked"
	if p.Value == nil {
		how = "ended its goroutine"
	}
	k.node.opts.Logger.Error("nearcache: a function that the cache was given "+how,
		"callback", cmp.Or(p.Callback, "unknown"), "cache", k.name, "key", p.Key, "stack", string(p.Stack))
}
