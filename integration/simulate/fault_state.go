package simulate

import (
	"time"

	"github.com/nearbus/nearbus/integration/simulate/simredis"
)

// stateFaults are those of what the server of the shared tier has and does.
func stateFaults() []fault {
	const second = time.Second
	primary := func(f *fleet) *machine { p, _ := f.servers.now(); return p }
	return []fault{
		{
			name: "clock-minutes", about: "the clock of the shared tier is set minutes forward or back, and then right again", weight: 3, forgets: true, redis: true,
			least: second, most: 10 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() { return f.step(s, 20*time.Minute) },
		},
		{
			name: "clock-days", about: "the clock of the shared tier is set days forward or back, and then right again", weight: 1, forgets: true, redis: true,
			least: second, most: 10 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() { return f.step(s, 72*time.Hour) },
		},
		{
			name: "eviction", about: "the shared tier evicts some keys that have a lifetime", weight: 3, forgets: true, redis: true,
			strike: func(f *fleet, s *Strike) func() {
				primary(f).redis.Evict(1+int(s.Roll%20), simredis.VolatileRandom)
				return func() {}
			},
		},
		{
			name: "eviction-any", about: "the shared tier evicts any keys, the journal among them", weight: 1, forgets: true, redis: true, tier: true,
			strike: func(f *fleet, s *Strike) func() {
				primary(f).redis.Evict(1+int(s.Roll%20), simredis.AllKeysRandom)
				return func() {}
			},
		},
		{
			name: "full", about: "the shared tier has no memory left", weight: 3, redis: true, least: second, most: 8 * second,
			strike: func(f *fleet, _ *Strike) func() {
				m := primary(f)
				m.redis.SetMaxMemory(1, simredis.NoEviction)
				return func() { m.redis.SetMaxMemory(0, simredis.NoEviction) }
			},
		},
		{
			name: "loading", about: "the shared tier refuses all scripts: it loads its data", weight: 3, redis: true, least: second / 10, most: 6 * second, tier: true,
			strike: func(f *fleet, _ *Strike) func() {
				return f.refuse("LOADING Redis is loading the dataset in memory", "eval", "evalsha")
			},
		},
		{
			name: "reads-refused", about: "the shared tier refuses reads", weight: 2, redis: true, least: second / 10, most: 6 * second,
			strike: func(f *fleet, _ *Strike) func() {
				return f.refuse("LOADING Redis is loading the dataset in memory", "mget")
			},
		},
		{
			name: "no-scripts", about: "the shared tier forgets all scripts, and cuts off its clients", weight: 1, redis: true, tier: true, bus: true,
			strike: func(f *fleet, _ *Strike) func() {
				primary(f).redis.KillClients(simredis.AllClients)
				return func() {}
			},
		},
	}
}

func (f *fleet) step(s *Strike, most time.Duration) func() {
	m, _ := f.servers.now()
	by := time.Duration(unit(s.Roll) * float64(most))
	if s.Roll%2 == 0 {
		by = -by
	}
	f.stepBy(m, by, by)
	return func() { f.stepBy(m, 0, -by) }
}

// stepBy sets the clock of a machine, and notes if that is back.
func (f *fleet) stepBy(m *machine, ahead, by time.Duration) {
	m.step(ahead)
	if by < 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.setBacks = append(f.setBacks, now())
	}
}

func (f *fleet) refuse(err string, commands ...string) func() {
	m, _ := f.servers.now()
	for _, c := range commands {
		m.redis.Refuse(c, err)
	}
	return func() {
		for _, c := range commands {
			m.redis.Refuse(c, "")
		}
	}
}
