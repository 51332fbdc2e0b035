package nearcachetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	nodeCount = 3
	keyCount  = 8
)

// env is what one case plays on: nodes, each with a view of one cache, and
// the source of truth.
type env struct {
	fleet Fleet
	views []*client
	keys  []*oracle

	touches atomic.Int64
}

// oracle is the source's record of one key. Writers of a key take turns, so the
// order of versions is the order of writes.
type oracle struct {
	key     string
	tags    []string     // one of its own, and that of some other keys
	turn    sync.Mutex   // held by the writer
	version atomic.Int64 // what the source holds
}

// client is one node's side.
type client struct {
	node  *nearcache.Node
	cache *nearcache.Cache[int64]
	floor map[string]*atomic.Int64 // by key: no later answer may be below
	loads atomic.Int64
	delay time.Duration // longest pause of a loader before or after it reads the source
}

var runs atomic.Int64

// newEnv joins the nodes. The name of the cache is new each time, so that
// cases leave each other alone on shared servers.
func newEnv(ctx context.Context, fleet Fleet, name string) (*env, error) {
	f := &env{fleet: fleet}
	f.fleet.Scale = max(1, fleet.Scale)
	for i := range keyCount {
		k := &oracle{key: fmt.Sprint("key-", i)}
		if i%2 == 0 {
			k.tags = []string{fmt.Sprint("tag-", i), fmt.Sprint("group-", i%4)}
		}
		f.keys = append(f.keys, k)
	}
	opts := fleet.Options
	if name == "one load" {
		opts.RefreshAhead = 0 // which loads once more
	}
	cache := fmt.Sprintf("%s-%d-%x", strings.ReplaceAll(name, " ", "-"), runs.Add(1), rand.Uint32())
	for range nodeCount {
		node, err := fleet.Join(ctx)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		v := &client{node: node, floor: map[string]*atomic.Int64{}}
		for _, k := range f.keys {
			v.floor[k.key] = &atomic.Int64{}
		}
		f.views = append(f.views, v)
		v.cache, err = nearcache.New(node, cache, opts)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	return f, f.heard(ctx)
}

// heard waits until every node hears the bus: before that the suite would test
// short lifetimes rather than invalidations.
func (f *env) heard(ctx context.Context) error {
	return eventually(ctx, func() error {
		for _, v := range f.views {
			if v.node.Stats().Bus.Cut {
				return errors.New("a node does not hear the bus")
			}
		}
		return nil
	})
}

func (f *env) close() error {
	var errs []error
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what a broken store has left undone is not waited for
	for _, v := range f.views {
		errs = append(errs, v.node.Close(ctx))
	}
	return errors.Join(errs...)
}

// load is the loader: it reads the source, slowly.
func (f *env) load(v *client, k *oracle) nearcache.Loader[int64] {
	return func(context.Context, string, *int64) (nearcache.Loaded[int64], error) {
		v.loads.Add(1)
		pause(v.delay)
		version := k.version.Load()
		pause(v.delay)
		return nearcache.Loaded[int64]{Value: version, Tags: k.tags}, nil
	}
}

func (k *oracle) entry(version int64) nearcache.Entry[int64] {
	return nearcache.Entry[int64]{Value: version, Tags: k.tags}
}

// fetch reads k through the cache of v.
func (f *env) fetch(ctx context.Context, v *client, k *oracle) (int64, error) {
	return v.cache.FetchEntry(ctx, k.key, f.load(v, k))
}

func pause(longest time.Duration) {
	if longest > 0 {
		time.Sleep(rand.N(longest))
	}
}

// read reads k on v and holds the answer against what v has written and, where
// a shared tier gives values an order, answered before.
func (f *env) read(ctx context.Context, v *client, k *oracle) error {
	floor := v.floor[k.key].Load()
	version, err := f.fetch(ctx, v, k)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", k.key, err)
	}
	if version < floor {
		return fmt.Errorf("%s: version %d answered, after %d was on the same node", k.key, version, floor)
	}
	if !f.fleet.NoLeases {
		raise(v.floor[k.key], version)
	}
	return nil
}

// write makes a new version of k in the source and, through v, in the cache.
// From its return on, v may not answer with less.
func (f *env) write(ctx context.Context, v *client, k *oracle, set bool) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	version := k.version.Add(1)
	var err error
	switch {
	case set:
		err = v.cache.SetEntry(ctx, k.key, k.entry(version))
	case k.tags != nil && version%3 > 0:
		err = v.cache.InvalidateTags(ctx, k.tags[version%3-1])
	default:
		err = v.cache.Invalidate(ctx, k.key)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", k.key, err)
	}
	raise(v.floor[k.key], version)
	return nil
}

func raise(floor *atomic.Int64, to int64) {
	for old := floor.Load(); old < to; old = floor.Load() {
		if floor.CompareAndSwap(old, to) {
			return
		}
	}
}

// agree waits until every node answers with the last version of every key, and
// looks once more whether that lasts.
func (f *env) agree(ctx context.Context) error {
	check := func() error {
		for i, v := range f.views {
			for _, k := range f.keys {
				version, err := f.fetch(ctx, v, k)
				if err != nil {
					return err
				}
				if want := k.version.Load(); version != want {
					return fmt.Errorf("node %d answers %s with version %d, last written is %d", i, k.key, version, want)
				}
			}
		}
		return nil
	}
	if err := eventually(ctx, check); err != nil {
		return err
	}
	return check()
}

// settleTime is how long nodes get to hear of the last write. It says nothing
// about how fast they are: it ends a wait for what would never come.
const settleTime = 5 * time.Second

func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// workers runs work in several goroutines until one fails or all are through.
type workers struct {
	wg   sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context //nolint:containedctx // lives for one case

	mu  sync.Mutex // protects err
	err error
}

func newWorkers(ctx context.Context) *workers {
	c := &workers{}
	c.ctx, c.stop = context.WithCancel(ctx)
	return c
}

// start does work so many times, in a goroutine that wait waits for.
func (c *workers) start(times int, work func(ctx context.Context) error) {
	c.wg.Go(func() {
		for range times {
			if c.ctx.Err() != nil {
				return
			}
			if err := work(c.ctx); err != nil {
				c.fail(err)
				return
			}
		}
	})
}

func (c *workers) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.stop()
}

// wait returns the first error.
func (c *workers) wait() error {
	c.wg.Wait()
	c.stop()
	return c.err
}
