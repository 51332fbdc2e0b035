package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// drawWarm draws whose hottest keys are to come near, of which cache, and how fast: at once, as
// fast as by default, or so slowly that much happens meanwhile.
func (p *Plan) drawWarm(dice *rand.Rand, op *Op) {
	op.Peer = dice.IntN(p.Nodes)
	if dice.IntN(2) == 0 {
		op.Keys = []uint32{p.readKey(dice)}
	}
	switch dice.IntN(4) {
	case 0:
		op.Rate = -1
	case 1:
		op.Rate = 20 + dice.IntN(30)
	}
}

// warm brings the hottest keys of a process near, as one that starts does, and one key of the plan.
// That answers nobody: what it brings shows in reads.
func (l *life) warm(ctx context.Context, op *Op) {
	key, start := op.Keys[0], now()
	keys := append(l.fleet.hottest(op.Peer, key), keyName(key))
	if l.fleet.plan.Spoiled == Warm {
		l.storeAll(ctx, keys)
		return
	}
	got, err := l.cacheOf(key).Warm(ctx, keys, nearcache.WarmOptions{KeysPerSecond: op.Rate})
	l.fleet.oracle.warmed(l, start, len(keys), got, err)
}

// storeAll is what a Warm must not be: it stores what it has read.
func (l *life) storeAll(ctx context.Context, names []string) {
	for key := range uint32(l.fleet.plan.Keys) {
		if slices.Contains(names, keyName(key)) {
			l.writeBack(ctx, key)
		}
	}
}

// hottest returns the hottest keys that a process has of the cache that has a key.
func (f *fleet) hottest(node int, key uint32) []string {
	f.mu.Lock()
	l := f.processes[node].life
	f.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.cacheOf(key).HottestKeys(f.plan.allKeys())
}

// warmed holds the result of a Warm against what it says of itself: each key is counted once, and
// without an error all were tried that there was room for.
func (o *oracle) warmed(l *life, start history.Moment, keys int, got nearcache.WarmResult, err error) {
	o.erred(l, Warm, start, err)
	counted := got.Warmed + got.Near + got.Absent + got.Invalid + got.Failed + got.Left
	switch {
	case counted != keys, got.Invalid > 0, (got.Failed > 0) && err == nil, err == nil && got.Left > 0 && !got.Full:
		o.violated(Violation{
			Promise: "Warm", What: fmt.Sprintf("of %d keys: %+v, %v", keys, got, err), Node: l.node, Life: l.number,
			Read: history.Record{Start: start, End: now()},
		})
	}
}
