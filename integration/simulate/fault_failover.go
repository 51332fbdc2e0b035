package simulate

import (
	"slices"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/integration/simulate/simredis"
)

// failovers are faults in which another server takes over. The name of the shared tier
// leads to it from then on; connections stay where they are.
func failovers() []fault {
	const second = time.Second
	return []fault{
		{
			name: "failover", about: "the primary dies, its replica takes over without the last writes, the old one comes back", weight: 4, forgets: true, redis: true,
			least: second / 10, most: 4 * second, tier: true, bus: true, strike: (*fleet).failOver,
		},
		{
			name: "deposed", about: "the replica takes over while the old primary goes on taking writes", weight: 4, forgets: true, redis: true,
			least: second / 10, most: 8 * second, tier: true, bus: true, strike: (*fleet).depose, lacks: lacksTheHeirs,
		},
		{
			name: "demoted", about: "the replica takes over, and the old primary becomes its replica, to which some connections stay", weight: 4, forgets: true, redis: true,
			least: second / 10, most: 8 * second, tier: true, bus: true, strike: (*fleet).demote, lacks: lacksTheLatest,
		},
		{
			name: "misled", about: "the name of the shared tier leads to its replica", weight: 2, redis: true,
			least: second / 10, most: 6 * second, tier: true, bus: true, strike: (*fleet).mislead, lacks: lacksTheLatest,
		},
	}
}

func (f *fleet) failOver(s *Strike) func() {
	old, heir := f.servers.now()
	if !f.servers.busy.TryLock() {
		return nil
	}
	heir.redis.CutReplication(true)
	_ = sleep(f.context, time.Duration(s.Roll%300)*time.Millisecond)
	k := f.fork(old, heir)
	k.end()
	old.Stop()
	old.refuse(true)
	return func() {
		defer f.servers.busy.Unlock()
		f.promote(heir, old)
		k.loss.Back = now()
		f.lose(k)
		old.redis.Restart(nil)
		f.replicate(old, heir)
		old.refuse(false)
	}
}

func (f *fleet) depose(s *Strike) func() {
	old, heir := f.servers.now()
	if !f.servers.busy.TryLock() {
		return nil
	}
	k := f.fork(old, heir)
	f.promote(heir, old)
	f.network.breakSome(old.name, s.Roll)
	return func() {
		defer f.servers.busy.Unlock()
		k.end()
		k.loss.Back, k.loss.Stays = now(), true
		f.lose(k)
		if f.plan.MinReplicas == 0 {
			// Who reaches only the old one cannot know better.
			f.forgive(history.Span{Start: k.loss.Died, End: now() + int64(f.plan.recovery())})
		}
		old.redis.Restart(nil)
		f.replicate(old, heir)
	}
}

func (f *fleet) demote(s *Strike) func() {
	old, heir := f.servers.now()
	if !f.servers.busy.TryLock() {
		return nil
	}
	k := f.fork(old, heir)
	k.end()
	f.promote(heir, old)
	f.network.breakSome(old.name, s.Roll)
	f.replicate(old, heir)
	k.loss.Back = now()
	f.lose(k)
	return func() {
		f.servers.busy.Unlock()
		old.redis.KillClients(simredis.AllClients)
	}
}

func (f *fleet) mislead(s *Strike) func() {
	primary, replica := f.servers.now()
	if !f.servers.busy.TryLock() {
		return nil
	}
	f.network.point(tierName, replica.host)
	f.network.breakSome(primary.name, s.Roll)
	return func() {
		f.network.point(tierName, primary.host)
		replica.redis.KillClients(simredis.AllClients)
		f.servers.busy.Unlock()
	}
}

// replicate makes a machine a replica of another one.
func (f *fleet) replicate(m, of *machine) {
	m.redis.SetReplicaOf(of.redis)
	m.redis.SetReplicationLag(f.plan.replicationLag())
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

// lacksTheLatest is for a replica.
func lacksTheLatest(f *fleet, _ *struck, at history.Moment) history.Moment {
	return at - int64(f.plan.replicationLag())
}

// lacksTheHeirs is for a server that was deposed.
func lacksTheHeirs(_ *fleet, s *struck, _ history.Moment) history.Moment { return s.span.Start }

// lackedByServer reports whether an answer to a process, which says that it misses nothing from
// before the beginning of r, may miss a write acknowledged before, because its server is no
// primary.
func (f *fleet) lackedByServer(process string, r *history.Record, acked history.Moment) bool {
	if f.network.strayed(process, r.End) && acked >= lacksTheLatest(f, nil, r.Start) {
		return true
	}
	return slices.ContainsFunc(f.struck, func(s struck) bool {
		kind, _ := faultNamed(s.Fault)
		return kind.lacks != nil && s.span.Start <= r.End && s.span.End >= r.Start && acked >= kind.lacks(f, &s, r.Start)
	})
}
