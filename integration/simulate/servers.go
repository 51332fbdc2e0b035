package simulate

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/integration/simulate/simmemcached"
	"github.com/nearbus/nearbus/integration/simulate/simredis"
)

// servers are those of a fleet: a primary and a replica for the shared tier, and a
// server of the bus if it has one of its own.
type servers struct {
	fleet *fleet
	busy  sync.Mutex // held by a fault that changes which server is what

	mu      sync.Mutex // protects the fields below
	primary *machine
	replica *machine
	third   *machine // a replica that never takes over
	bus     *machine
}

// machine is a host with a server of Redis on it.
type machine struct {
	*host
	server
	redis     *simredis.Server     // nil if it is none
	memcached *simmemcached.Server // likewise

	// Guarded by the mutex of the host.
	saves   []save
	stepped bool // the clock was ever set
}

// server is what servers of every kind can do.
type server interface {
	Serve(c net.Conn)
	Freeze()
	Thaw()
	Stop()
	Close()
}

func newServers(f *fleet) *servers {
	if f.plan.Store == Memcached {
		return newMemcachedServers(f)
	}

	s := &servers{fleet: f, primary: newMachine(f, "redis-1"), replica: newMachine(f, "redis-2"), third: newMachine(f, "redis-3")}
	s.replica.redis.SetReplicaOf(s.primary.redis)
	s.replica.redis.SetReplicationLag(f.plan.replicationLag())
	s.follow(s.primary)
	f.network.point(tierName, s.primary.host)
	s.bus = s.primary
	if f.plan.Bus == OtherRedis {
		s.bus = newMachine(f, "redis-bus")
	}
	f.network.point(busName, s.bus.host)
	return s
}

func newMachine(f *fleet, name string) *machine {
	r := simredis.New(simredis.Options{Seed: f.seed.mix(name), MinReplicas: f.plan.MinReplicas})
	return &machine{redis: r, server: r, host: &host{name: name, serve: r.Serve}}
}

// memcachedName is a name that need not be looked up, which the client of Memcached would
// do by itself.
const memcachedName = "10.0.0.1"

// newMemcachedServers are one for the shared tier, and one of Redis for the bus.
func newMemcachedServers(f *fleet) *servers {
	m := simmemcached.New(simmemcached.Options{})
	s := &servers{
		fleet: f, bus: newMachine(f, "redis-bus"),
		primary: &machine{memcached: m, server: m, host: &host{name: memcachedName, serve: m.Serve}},
	}
	f.network.point(memcachedName, s.primary.host)
	f.network.point(busName, s.bus.host)
	return s
}

// follow makes the third server a replica of m.
func (s *servers) follow(m *machine) {
	s.third.redis.SetReplicaOf(m.redis)
	s.third.redis.SetReplicationLag(s.fleet.plan.replicationLag())
}

// now returns the primary and the replica of the moment.
func (s *servers) now() (primary, replica *machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.primary, s.replica
}

// close ends all servers.
func (s *servers) close() {
	s.mu.Lock()
	all := slices.DeleteFunc([]*machine{s.primary, s.replica, s.third, s.bus}, func(m *machine) bool { return m == nil })
	s.mu.Unlock()
	for _, m := range all {
		m.Close()
	}
	for _, m := range all {
		m.open.Wait()
	}
}

// save keeps snapshots of the primary until the run is done.
func (s *servers) save(done <-chan struct{}) {
	ticker := time.NewTicker(snapshotEvery)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			p, _ := s.now()
			if !p.isDown() && p.redis != nil {
				p.keep(save{now(), p.redis.Snapshot()})
			}
		}
	}
}

// step sets the clock of a machine.
func (m *machine) step(ahead time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stepped = true
	m.redis.SetClock(ahead)
}

// wasSet reports whether the clock was ever set.
func (m *machine) wasSet() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stepped
}

// save is what a server had at a time.
type save struct {
	at       history.Moment
	snapshot *simredis.Snapshot
}

// keptSaves is how many snapshots a machine has.
const keptSaves = 8

func (m *machine) keep(s save) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves = append(m.saves, s)
	if len(m.saves) > keptSaves {
		m.saves = m.saves[1:]
	}
}

// saved returns the latest snapshot from before a time; nothing if there is none, or
// none is asked for.
func (s *servers) saved(m *machine, before history.Moment, any bool) (found save) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, save := range m.saves {
		if any && save.at <= before {
			found = save
		}
	}
	return found
}
