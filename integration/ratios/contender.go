package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
)

const longLife = time.Hour

// cache is what is measured.
type cache struct {
	read    func(key string) (hit bool, err error) // and load the value if it is not there
	entries func() int                             // how many there are now
	close   func()
}

// contender opens caches that hold values of so many bytes. What size means is up to the
// contender.
type contender struct {
	name string
	open func(size, value int) (*cache, error)
}

var (
	others  = []contender{{"otter", openOtter}, {"ristretto", openRistretto}}
	nearbus = contender{"nearbus", openNear}
)

// openNear opens a node whose NearBytes is size.
func openNear(size, value int) (*cache, error) {
	messages, err := bus.New(membus.NewHub().Join(), bus.Options{})
	if err != nil {
		return nil, err
	}
	n, err := nearcache.NewNode(nil, messages, nearcache.NodeOptions{NearBytes: int64(size)})
	if err != nil {
		return nil, err
	}
	c, err := nearcache.New(n, "values", nearcache.Options[[]byte]{
		TTL: longLife, Cost: func(v []byte) int64 { return int64(len(v)) },
	})
	if err != nil {
		return nil, err
	}
	loaded := false
	load := func(context.Context, string) ([]byte, error) { //nolint:unparam // the type of a loader
		loaded = true
		return make([]byte, value), nil
	}
	return &cache{
		read: func(key string) (bool, error) {
			loaded = false
			_, err := c.Fetch(context.Background(), key, load)
			return !loaded, err
		},
		entries: func() int { return int(n.Stats().Near.Entries) },
		close: func() {
			_ = n.Close(context.Background())
			_ = messages.Close()
		},
	}, nil
}

// costOfEntry returns what an entry with a value of so many bytes counts against NearBytes.
func costOfEntry(value int) (int, error) {
	messages, err := bus.New(membus.NewHub().Join(), bus.Options{})
	if err != nil {
		return 0, err
	}
	defer messages.Close()
	n, err := nearcache.NewNode(nil, messages, nearcache.NodeOptions{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = n.Close(context.Background()) }()
	c, err := nearcache.New(n, "values", nearcache.Options[[]byte]{Cost: func(v []byte) int64 { return int64(len(v)) }})
	if err != nil {
		return 0, err
	}
	load := func(context.Context, string) ([]byte, error) { return make([]byte, value), nil }
	if _, err := c.Fetch(context.Background(), fmt.Sprintf("user:%011d", 1), load); err != nil {
		return 0, err
	}
	return int(n.Stats().Near.Bytes), nil
}

func openOtter(size, value int) (*cache, error) {
	c, err := otter.New(&otter.Options[string, []byte]{
		MaximumSize: size, ExpiryCalculator: otter.ExpiryWriting[string, []byte](longLife),
	})
	if err != nil {
		return nil, err
	}
	return &cache{
		read: func(key string) (bool, error) {
			_, hit := c.GetIfPresent(key)
			if !hit {
				c.Set(key, make([]byte, value))
			}
			return hit, nil
		},
		entries: func() (n int) {
			for range c.Keys() {
				n++
			}
			return n
		},
		close: func() { c.InvalidateAll() },
	}, nil
}

func openRistretto(size, value int) (*cache, error) {
	c, err := ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: 10 * int64(size), MaxCost: int64(size), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	return &cache{
		read: func(key string) (bool, error) {
			_, hit := c.Get(key)
			if !hit {
				c.SetWithTTL(key, make([]byte, value), 1, longLife)
			}
			return hit, nil
		},
		entries: func() int { return size - int(c.RemainingCost()) },
		close:   c.Close,
	}, nil
}
