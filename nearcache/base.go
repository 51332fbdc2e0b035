package nearcache

import (
	"cmp"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/heapsize"
	"github.com/nearbus/nearbus/nearcache/internal/outage"
)

// base is what a cache is but for the type of its values.
type base struct {
	node  *coherence.Node
	owner *Node // of node
	keys  coherence.Keyspace

	typed   typed // the rest of the cache
	opts    plain
	places  chan struct{} // holds one element for each loader that runs; nil: no limit
	failing outage.Outage // of loads, while old values are given

	refreshes chan struct{} // holds one element for each refresh that runs; nil: there are none
	of        reflect.Type  // values
	late      bool          // there may be entries that are no hits, see lateAnswer

	points      bool                              // values point to something
	sizes       atomic.Pointer[heapsize.Estimate] // of values; nil until there was one without Options.Cost
	toldOfSizes atomic.Bool                       // that sizes are not known well

	closing     sync.Once
	undelivered error // of invalidations that ended with the cache; set by closing

	counts
}

// counts are what reads and loads count.
type counts struct {
	hits                                  striped
	misses, sharedHits, loads, loadErrors atomic.Uint64
	waits, overdue, refused, degraded     atomic.Uint64
	queued, absentHits, stale, refreshed  atomic.Uint64
	undecodable, unencodable, tooLarge    atomic.Uint64
	unasked, untaggable, panics           atomic.Uint64
	toldTooLarge                          atomic.Bool // of a loaded value
}

// open opens the cache of this name on node, for values of a type: all of New that does not
// depend on it.
func (b *base) open(node *Node, name string, opts plain, tagged bool, of reflect.Type) error {
	if node == nil {
		return fmt.Errorf("nearcache: New %q: the node is nil", name)
	}
	if err := cmp.Or(checkName(name), opts.validate()); err != nil {
		return err
	}
	opts = opts.withDefaults(node.core.Bus != nil)
	if err := cmp.Or(opts.validate(), opts.validateLag(node.core)); err != nil {
		return err
	}
	b.node, b.owner, b.opts, b.of, b.points = node.core, node, opts, of, heapsize.Points(of)
	b.keys.Init(b.node, name, opts.settings(tagged))
	b.failing = outage.Outage{Patience: slowPatience, Quiet: loadsQuiet}
	b.late = opts.NotFoundTTL > 0 || opts.Stale.For > 0 || opts.RefreshAhead > 0
	if opts.MaxConcurrentLoads > 0 {
		b.places = make(chan struct{}, opts.MaxConcurrentLoads)
	}
	if opts.RefreshAhead > 0 {
		b.refreshes = make(chan struct{}, maxRefreshes)
	}
	dropped, err := b.inspect(of)
	if err != nil {
		return err
	}
	if err := b.node.Join(&b.keys); err != nil {
		return err
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	node.caches[name] = b
	b.warnDropped(of, dropped)
	return nil
}

// guard is guard that tells the log: the error may reach nobody.
func (b *base) guard(callback, key string, f func() error) error {
	return guard(callback, key, b.panicked, f)
}

// missed counts a read that is not answered from the near tier.
func (b *base) missed(key string, hash uint64) {
	b.misses.Add(1)
	b.keys.Costs.Misses.Add(hash, key, b.node.Near.Now())
}

// panicked counts a panic, and logs the first of the cache. What was passed to panic
// may carry a value.
func (b *base) panicked(p *PanicError) {
	if b.panics.Add(1) > 1 {
		return
	}
	how := "panicked"
	if p.Value == nil {
		how = "ended its goroutine"
	}
	b.node.Options.Logger.Error("nearcache: a function that the cache was given "+how,
		"callback", cmp.Or(p.Callback, "unknown"), "cache", b.keys.Name, "key", p.Key, "stack", string(p.Stack))
}

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

// striped is a counter whose parts lie on cache lines of their own, so that
// processors that count at the same time do not wait for each other. The parts
// take 4 KiB, and are made with the first count: most of many caches may be idle.
type striped struct {
	parts atomic.Pointer[stripes]
}

type stripes [1 << stripeBits]struct {
	n atomic.Uint64
	_ [56]byte
}

const (
	stripeBits = 6
	golden     = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio, as in Knuth's multiplicative hashing
)

// add counts one.
//
// A goroutine picks its part by where its stack is, which costs nothing, and
// keeps to it for as long as its stack stays, so that the line of the part
// stays with its processor. (A part picked by chance moves between processors
// all the time.) The address is a number here, never followed.
func (s *striped) add() {
	parts := s.parts.Load()
	if parts == nil {
		parts = s.begin()
	}
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // the smallest stack has 2 KiB
	parts[at*golden>>(64-stripeBits)].n.Add(1)
}

// begin makes the parts, unless another goroutine just did.
func (s *striped) begin() *stripes {
	s.parts.CompareAndSwap(nil, new(stripes))
	return s.parts.Load()
}

func (s *striped) sum() (n uint64) {
	parts := s.parts.Load()
	if parts == nil {
		return 0
	}
	for i := range parts {
		n += parts[i].n.Load()
	}
	return n
}
