package simulate

import (
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// serverFaults are those of the servers of the shared tier.
func serverFaults() []fault {
	const second = time.Second
	return []fault{
		{
			name: "freeze", about: "the server of the shared tier stands still", weight: 4,
			least: second / 2, most: 8 * second, tier: true, bus: true,
			strike: func(f *fleet, _ *Strike) func() {
				p, _ := f.servers.now()
				if !f.servers.busy.TryLock() {
					return nil
				}
				p.Freeze()
				return func() {
					defer f.servers.busy.Unlock()
					p.Thaw()
				}
			},
		},
		{
			name: "restart-empty", about: "the server of the shared tier is killed and starts empty", weight: 2, forgets: true,
			least: second / 10, most: 4 * second, tier: true, bus: true,
			strike: func(f *fleet, _ *Strike) func() { return f.restart(0) },
		},
		{
			name: "restart-disk", about: "the server of the shared tier is killed and starts from a snapshot some seconds old", weight: 3, forgets: true, redis: true,
			least: second / 10, most: 4 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() { return f.restart(1 + time.Duration(s.Roll%5000)*time.Millisecond) },
		},
	}
}

// snapshotEvery is how often the primary saves what it has.
const snapshotEvery = time.Second

// restart kills the primary, and starts it from the latest snapshot that is older than
// age; without one for 0.
func (f *fleet) restart(age time.Duration) func() {
	p, _ := f.servers.now()
	if !f.servers.busy.TryLock() {
		return nil
	}
	died := now()
	p.Stop()
	p.refuse(true)
	return func() {
		defer f.servers.busy.Unlock()
		if p.memcached != nil {
			p.memcached.Restart()
			p.refuse(false)
			return
		}
		saved := f.servers.saved(p, died-int64(age), age > 0)
		p.redis.Restart(saved.snapshot)
		p.refuse(false)
		f.lose(&fork{loss: history.Loss{Died: died, Back: now(), Lost: func(r *history.Record) bool {
			return r.Start < died && r.End > saved.at
		}}})
	}
}

func (f *fleet) lose(k *fork) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.losses = append(f.losses, k.loss)
}
