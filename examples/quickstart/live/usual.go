package live

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// usual is the near cache that one writes in an afternoon, on three servers: ristretto in front
// of the store; who writes publishes the key, and who hears it drops the key.
type usual struct {
	near  [servers]*ristretto.Cache[string, int64]
	tiers [servers]*shared.Tier
	links [servers]*link
	heard [servers]atomic.Bool
	load  query

	cancel    context.CancelFunc
	listeners sync.WaitGroup
}

// resubscribe is the pause before a lost subscription is made anew.
const resubscribe = 100 * time.Millisecond

func openUsual(s *switches, t *traffic, load query) (*usual, error) {
	ctx, cancel := context.WithCancel(context.Background())
	u := &usual{load: load, cancel: cancel}
	memory, hub := memstore.New(memstore.Options{JournalLength: -1}), membus.NewHub()
	for i := range servers {
		var err error
		if u.tiers[i], err = shared.New(&store{memory, i, s}, shared.Options{Timeout: storeTimeout, TTL: timeToLive}); err == nil {
			u.near[i], err = ristretto.NewCache(&ristretto.Config[string, int64]{
				NumCounters: 10 * keys, MaxCost: 100 * keys, BufferItems: 64, IgnoreInternalCost: true,
			})
		}
		if err != nil {
			u.close()
			return nil, err
		}
		u.links[i] = &link{inner: hub.Join(), server: i, switches: s, traffic: t, shown: func([]byte) bool { return true }}
		u.listeners.Go(func() { u.listen(ctx, i) }) // ends with close
	}
	return u, nil
}

func (u *usual) listen(ctx context.Context, server int) {
	for ctx.Err() == nil {
		_ = u.links[server].Receive(ctx, bus.Sink{ // a reason is a matter for the log
			Ready:   func() { u.heard[server].Store(true) },
			Deliver: func(key []byte) { u.near[server].Del(string(key)) },
			Gap:     func(error) {},
		})
		u.heard[server].Store(false)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
		}
	}
}

func (u *usual) fetch(ctx context.Context, server int, key string) (int64, error) {
	if version, ok := u.near[server].Get(key); ok {
		return version, nil
	}
	data, err := u.tiers[server].Get(ctx, key)
	switch {
	case errors.Is(err, shared.ErrNotFound):
		return u.fill(ctx, server, key)
	case err != nil:
		return u.load(ctx, key)
	}
	version, err := strconv.ParseInt(string(data), 10, 64)
	if err == nil {
		u.near[server].SetWithTTL(key, version, 1, timeToLive)
	}
	return version, err
}

func (u *usual) fill(ctx context.Context, server int, key string) (int64, error) {
	version, err := u.load(ctx, key)
	if err == nil && u.tiers[server].Set(ctx, key, strconv.AppendInt(nil, version, 10), timeToLive) == nil {
		u.near[server].SetWithTTL(key, version, 1, timeToLive)
	}
	return version, err
}

func (u *usual) write(ctx context.Context, server int, key string, version int64) error {
	err := u.tiers[server].Set(ctx, key, strconv.AppendInt(nil, version, 10), timeToLive)
	u.near[server].Del(key)
	if err == nil {
		_ = u.links[server].Publish(ctx, []byte(key)) // what fails is a line in the log
	}
	return err
}

func (u *usual) about(server int) string {
	if !u.heard[server].Load() {
		return "subscribes again"
	}
	return "trusts what it has"
}

func (u *usual) close() {
	u.cancel()
	u.listeners.Wait()
	for _, near := range u.near {
		if near != nil {
			near.Close()
		}
	}
}
