package simulate

import (
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// failovers are faults in which another server takes over. The name of the shared tier
// leads to it from then on; connections stay where they are.
func failovers() []fault {
	const second = time.Second
	return []fault{
		{
			name: "failover", about: "the primary dies, its replica takes over without the last writes, the old one comes back", weight: 4, redis: true,
			least: second / 10, most: 4 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() {
				old, heir := f.servers.now()
				if !f.servers.busy.TryLock() {
					return nil
				}
				heir.redis.CutReplication(true)
				_ = sleep(f.context, time.Duration(s.Roll%300)*time.Millisecond)
				l := f.fork(old, heir)
				l.end()
				old.redis.Stop()
				old.set(true, false)
				return func() {
					defer f.servers.busy.Unlock()
					f.promote(heir, old)
					l.loss.Back = now()
					f.lose(l)
					old.redis.Restart(nil)
					old.redis.SetReplicaOf(heir.redis)
					old.redis.SetReplicationLag(f.plan.replicationLag())
					old.set(false, false)
				}
			},
		},
		{
			name: "deposed", about: "the replica takes over while the old primary goes on taking writes", weight: 4, redis: true,
			least: second / 10, most: 8 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() {
				old, heir := f.servers.now()
				if !f.servers.busy.TryLock() {
					return nil
				}
				l := f.fork(old, heir)
				f.promote(heir, old)
				f.network.breakSome(old.name, s.Roll)
				return func() {
					defer f.servers.busy.Unlock()
					l.end()
					l.loss.Back, l.loss.Stays = now(), true
					f.lose(l)
					if f.plan.MinReplicas == 0 {
						// Who reaches only the old one cannot know better.
						f.forgive(history.Span{Start: l.loss.Died, End: now() + int64(f.plan.recovery())})
					}
					old.redis.Restart(nil)
					old.redis.SetReplicaOf(heir.redis)
					old.redis.SetReplicationLag(f.plan.replicationLag())
				}
			},
		},
		{
			name: "demoted", about: "the replica takes over, and the old primary becomes its replica, to which some connections stay", weight: 4, redis: true,
			least: second / 10, most: 8 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() {
				old, heir := f.servers.now()
				if !f.servers.busy.TryLock() {
					return nil
				}
				l := f.fork(old, heir)
				l.end()
				f.promote(heir, old)
				f.network.breakSome(old.name, s.Roll)
				old.redis.SetReplicaOf(heir.redis)
				old.redis.SetReplicationLag(f.plan.replicationLag())
				l.loss.Back = now()
				f.lose(l)
				return func() {
					f.servers.busy.Unlock()
					old.redis.KillClients("")
				}
			},
		},
		{
			name: "misled", about: "the name of the shared tier leads to its replica", weight: 2, redis: true,
			least: second / 10, most: 6 * second, tier: true, bus: true,
			strike: func(f *fleet, s *Strike) func() {
				primary, replica := f.servers.now()
				if !f.servers.busy.TryLock() {
					return nil
				}
				f.network.point(tierName, replica.host)
				f.network.breakSome(primary.name, s.Roll)
				return func() {
					f.network.point(tierName, primary.host)
					replica.redis.KillClients("")
					f.servers.busy.Unlock()
				}
			},
		},
	}
}

// promote makes heir the primary, and has the name of the shared tier lead to it.
func (f *fleet) promote(heir, old *machine) {
	heir.redis.Promote()
	f.servers.mu.Lock()
	f.servers.primary, f.servers.replica = heir, old
	f.servers.mu.Unlock()
	f.network.point(tierName, heir.host)
	f.servers.follow(heir)
}

// replicationLag is how far a replica is behind.
func (p *Plan) replicationLag() time.Duration {
	return time.Duration(1+seed(p.Seed).mix("replication lag")%80) * time.Millisecond
}
