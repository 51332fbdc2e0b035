package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// contender is a cache on every server of a fleet.
type contender interface {
	// fetch reads a key on a server.
	fetch(ctx context.Context, server int, key string) (version int64, err error)
	// write stores a version through a server. The error is nil if the store has it.
	write(ctx context.Context, server int, key string, version int64) error
	// about says in a few words how a server sees itself.
	about(server int) string
	close()
}

// ours is nearbus on three servers.
type ours struct {
	nodes  [servers]*nearcache.Node
	caches [servers]*nearcache.Cache[int64]
}

// query asks the database.
type query func(ctx context.Context, key string) (version int64, err error)

// invalidations is the type of a message of a write, in its third byte.
const invalidations = 1

func openOurs(ctx context.Context, s *switches, t *traffic, load query) (*ours, error) {
	o := &ours{}
	memory, hub := memstore.New(memstore.Options{}), membus.NewHub()
	for i := range servers {
		transport := &link{inner: hub.Join(), server: i, switches: s, traffic: t, shown: func(payload []byte) bool {
			return len(payload) > 2 && payload[2] == invalidations
		}}
		node, err := nearcache.Open(ctx, &store{memory, i, s}, transport, nearcache.OpenOptions{
			Tier: shared.Options{Timeout: storeTimeout},
			Bus:  bus.Options{Node: fmt.Sprintf("server-%d", i+1), PublishTimeout: storeTimeout},
			Node: nearcache.NodeOptions{MaxStaleness: maxStaleness, JournalInterval: journalInterval},
		})
		if err != nil {
			o.close()
			return nil, err
		}
		o.nodes[i] = node
		o.caches[i], err = nearcache.New(node, "records", nearcache.Options[int64]{
			TTL: timeToLive, Loader: nearcache.ValueLoader(load),
		})
		if err != nil {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

func (o *ours) fetch(ctx context.Context, server int, key string) (int64, error) {
	return o.caches[server].Get(ctx, key)
}

// write takes a write that could not be announced for what it is: the journal has it.
func (o *ours) write(ctx context.Context, server int, key string, version int64) error {
	err := o.caches[server].Set(ctx, key, version)
	if errors.Is(err, nearcache.ErrNotBroadcast) {
		return nil
	}
	return err
}

func (o *ours) about(server int) string {
	switch h := o.nodes[server].Health(); {
	case h.PendingInvalidations > 0:
		return "has writes to tell of"
	case !h.Trusted:
		return "asks the database"
	case h.BusCut:
		return "reads the journal"
	}
	return "hears every write"
}

func (o *ours) close() {
	ended, end := context.WithCancel(context.Background())
	end() // nothing is waited for
	for _, node := range o.nodes {
		if node != nil {
			_ = node.Close(ended)
		}
	}
}
