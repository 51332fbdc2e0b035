package main

import (
	"context"
	"slices"
	"time"

	"github.com/nearbus/nearbus/integration/servers"
)

// scenario is a fault that comes and goes while processes work.
type scenario struct {
	name, about string
	bus         string // see settings
	tier        string // "sentinel", "cluster", "replicated cluster", "shards", or "" for one server
	redis       []string
	clocks      []time.Duration // of the masters of a cluster, ahead
	slowLoads   bool
	answers     bool // the shared tier answers all the time, so the bound is that of repair
	long        bool // the fault takes more than 10 s

	// strike makes the fault happen once and ends it. It returns how much
	// evidence there is that it did.
	strike  func(ctx context.Context, f *field, i int) (evidence uint64, err error)
	between time.Duration // pause after a strike
	peers   bool          // makes sense for other subjects
}

// scenarios are all there are, in the order of the table.
func scenarios() []scenario {
	return slices.Concat(harmless(), busFaults(), tierFaults(), fleetFaults(), nodeFaults(), mixed())
}

func harmless() []scenario {
	return []scenario{
		{
			name: "none", about: "nothing breaks", bus: "redis", answers: true, peers: true,
			strike: func(ctx context.Context, _ *field, _ int) (uint64, error) { pause(ctx, time.Second); return 1, nil },
		},
		{
			name: "slow-loads", about: "loaders answer 0-50 ms late and race with writers", bus: "redis", answers: true,
			slowLoads: true, peers: true,
			strike: func(ctx context.Context, _ *field, _ int) (uint64, error) { pause(ctx, time.Second); return 1, nil },
		},
	}
}

// toBus and toTier are the relays to harm; everyone, oneByOne and allButFirst whose.
// Messages for rueidis and go-redis come over their connections to the shared
// tier.
func toBus(f *field) []*servers.Relay {
	if f.plan.subject == "rueidis" || f.plan.subject == "go-redis" {
		return f.toRedis
	}
	return f.toBus
}

func toTier(f *field) []*servers.Relay { return f.toRedis }

func everyone(relays []*servers.Relay, _ int) []*servers.Relay { return relays }
func oneByOne(relays []*servers.Relay, i int) []*servers.Relay {
	return relays[i%len(relays):][:1]
}
func allButFirst(relays []*servers.Relay, _ int) []*servers.Relay { return relays[1:] }

// onRelays harms ways to a server for some time.
func onRelays(which func(*field) []*servers.Relay, whose func([]*servers.Relay, int) []*servers.Relay,
	takes time.Duration, harmOne func(*servers.Relay),
) func(context.Context, *field, int) (uint64, error) {
	return func(ctx context.Context, f *field, i int) (uint64, error) {
		relays := whose(which(f), i)
		before := harm(relays)
		for _, r := range relays {
			harmOne(r)
		}
		pause(ctx, takes)
		for _, r := range relays {
			if err := r.Resume(); err != nil {
				return 0, err
			}
		}
		return harm(relays) - before, nil
	}
}
