package simulate

import (
	"context"
	"math/rand/v2"
)

// garbageFaults are bytes that no process of the fleet has made. They excuse nothing.
func garbageFaults() []fault {
	return []fault{
		{
			name: "garbage-bus", about: "somebody publishes bytes on the channel of the bus that are no messages", weight: 2,
			strike: func(f *fleet, s *Strike) func() { return f.litter(s, f.servers.bus, "publish", channelName) },
		},
		{
			name: "garbage-records", about: "somebody overwrites records of the shared tier with bytes that are none", weight: 2, forgets: true, redis: true,
			strike: func(f *fleet, s *Strike) func() {
				dice, keys := f.seed.dice("garbage", s.Roll), make([]string, garbagePieces)
				for i := range keys {
					keys[i] = recordPrefix + keyName(dice.Uint32N(uint32(f.plan.Keys)))
				}
				p, _ := f.servers.now()
				return f.litter(s, p, "set", keys...)
			},
		},
	}
}

const (
	channelName  = "nearbus"
	recordPrefix = "nearbus:{0}:" + cacheName + ":"
)

// garbagePieces is how many pieces of garbage there are at a time.
const garbagePieces = 20

// litter gives garbage to a machine, in pieces, each for one of the names.
func (f *fleet) litter(s *Strike, m *machine, command string, names ...string) func() {
	dice := f.seed.dice("litter", s.Roll)
	f.background.Go(func() {
		c := m.client()
		defer c.Close()
		for i := range garbagePieces {
			// A server that is down or full takes none.
			_ = c.Do(context.Background(), command, names[i%len(names)], garbage(dice)).Err()
		}
	})
	return func() {}
}

// garbage draws bytes, of which half begin like a message or a record.
func garbage(dice *rand.Rand) string {
	b := make([]byte, dice.IntN(80))
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	if len(b) > 3 && dice.IntN(2) == 0 {
		b[0], b[1], b[2] = 0xF8, 1, byte(1+dice.IntN(3))
	}
	return string(b)
}
