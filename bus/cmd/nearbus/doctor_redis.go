package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is one Redis that keys or channels are on.
type redisServer struct {
	at     string
	client *redis.Client

	answers bool
	info    map[string]string // of INFO; nil if it is refused
	clock   time.Duration     // how far its clock is ahead of the one here
}

// redisTier looks at the Redis of the shared tier, and reports whether it can be used at all.
func (c *checkup) redisTier(ctx context.Context) (there bool) {
	all := c.redisServers(ctx, c.fleet.redis, c.fleet.store)
	if len(all) == 0 {
		return false
	}
	for _, s := range all {
		c.redisVersion(s, c.fleet.store.kind() == "redis+cluster" && c.fleet.inv.busURL == "")
		c.redisRole(s)
		c.redisMemory(s)
		c.redisDisk(s)
		c.redisClients(s)
		c.redisBuffers(ctx, s)
	}
	c.redisClocks(all)
	if c.fleet.store.kind() == "redis" {
		c.redisAddress(ctx, all[0])
	}
	broken := c.count(critical) > 0
	if !c.redisRights(ctx, all[0]) {
		return true
	}
	if broken { // it would say the same once more
		c.skip("redis-scripts", c.fleet.store.String(), "not tried, because of what is critical")
	} else {
		c.redisScripts(ctx)
	}
	c.redisJournal(ctx)
	return true
}

// redisServers returns the servers behind a client, those that answer.
func (c *checkup) redisServers(ctx context.Context, client redis.UniversalClient, a *address) (all []*redisServer) {
	var err error
	if cluster, ok := client.(*redis.ClusterClient); ok {
		var mu sync.Mutex
		err = cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, &redisServer{at: master.Options().Addr, client: master})
			return nil
		})
		slices.SortFunc(all, func(a, b *redisServer) int { return strings.Compare(a.at, b.at) })
	} else {
		all = append(all, &redisServer{at: strings.Join(a.hosts, ","), client: client.(*redis.Client)})
	}
	if err != nil {
		c.unreachable("redis", a.String(), err)
		return nil
	}
	looks := make([]func(*checkup), len(all))
	for i, s := range all {
		looks[i] = func(c *checkup) { s.answers = c.redisAnswers(ctx, s) }
	}
	c.together(looks...)
	return slices.DeleteFunc(all, func(s *redisServer) bool { return !s.answers })
}

// unreachable notes that a server does not answer as it should.
func (c *checkup) unreachable(check, at string, err error) {
	f := finding{Severity: critical, Check: check, At: at, What: "does not answer: " + tell(err), Change: "start it, or correct the address"}
	switch text := err.Error(); {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"):
		f.What, f.Change, f.Page = "refuses the user: "+tell(err), "correct user and password", "operations.md#least-rights"
	case strings.Contains(text, "cluster support disabled"):
		f.What, f.Change = "is no Cluster", "use redis:// in place of redis+cluster://"
	case isTimeout(err):
		f.Change, f.Page = unstick, "operations.md#when-something-is-down"
	}
	c.add(f)
}

// unstick is what to do about a server that does not answer in time, though nobody refuses.
const unstick = "look whether it hangs or has too much to do, a firewall drops what is sent to it, or one side alone encrypts"

// isTimeout reports whether nothing came in time.
func isTimeout(err error) bool {
	var timed interface{ Timeout() bool }
	return errors.As(err, &timed) && timed.Timeout() || errors.Is(err, errUnheard)
}

// redisAnswers looks whether a server answers, how fast, and what it says of itself.
func (c *checkup) redisAnswers(ctx context.Context, s *redisServer) bool {
	l, err := measure(func() error { return answered(s.client.Ping(ctx).Err()) })
	if err != nil {
		c.unreachable("redis", s.at, err)
		return false
	}
	c.latency("redis-latency", s.at, l)
	if text, err := s.client.Info(ctx, "everything").Result(); err == nil {
		s.info = parsedInfo(text)
	}
	began := time.Now()
	if now, err := s.client.Time(ctx).Result(); err == nil {
		s.clock = time.Until(now) + time.Since(began)/2
	}
	return true
}

// answered returns err, nil if it is an answer of a server that knows the user: what that refuses
// is looked at by itself.
func answered(err error) error {
	if _, said := errors.AsType[redis.Error](err); !said {
		return err
	}
	for _, unknown := range []string{"WRONGPASS", "NOAUTH", "LOADING"} {
		if redis.HasErrorPrefix(err, unknown) {
			return err
		}
	}
	return nil
}

func parsedInfo(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			fields[name] = value
		}
	}
	return fields
}

// number returns a field of INFO as a number, 0 if there is none.
func (s *redisServer) number(field string) int64 {
	n, _ := strconv.ParseInt(s.info[field], 10, 64)
	return n
}

// version returns the program and its version, as major*100+minor.
func (s *redisServer) version() (program, text string, number int) {
	program, text = "Redis", s.info["redis_version"]
	if s.info["server_name"] == "valkey" || s.info["valkey_version"] != "" {
		program, text = "Valkey", s.info["valkey_version"]
	}
	major, rest, _ := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return program, text, a*100 + b
}

func (c *checkup) redisVersion(s *redisServer, sharded bool) {
	program, text, number := s.version()
	f := finding{Severity: critical, Check: "redis-version", At: s.at, Page: "operations.md#versions"}
	switch {
	case text == "":
		c.skip("redis-version", s.at, "INFO is refused, so its version is not known")
		return
	case program == "Redis" && number < 600:
		f.What, f.Change = "is Redis "+text+", which the store cannot use", "use Redis 6.0 or later, or Valkey"
	case program == "Redis" && number < 700 && sharded:
		f.What, f.Change = "is Redis "+text+", a Cluster without sharded pub/sub, which the bus needs", "use Redis 7.0 or later, or NATS as the bus"
	case program == "Valkey" && number >= 901:
		f.Severity, f.Page = warning, "operations.md#settings-of-the-server"
		f.What = "is Valkey " + text + ", which does not count large messages against client-output-buffer-limit: a server of the fleet that stands still costs it memory without a bound"
		f.Change = "alert on its memory, or use NATS as the bus"
	default:
		c.ok("redis-version", s.at, "is %s %s", program, text)
		return
	}
	c.add(f)
}

// redisRole looks whether a server is a primary, and keeps what it confirms.
func (c *checkup) redisRole(s *redisServer) {
	replicas, role := s.number("connected_slaves"), s.info["role"]
	_, guarded := s.info["min_slaves_good_slaves"]
	f := finding{Severity: critical, Check: "redis-role", At: s.at, Page: "operations.md#settings-of-the-server"}
	switch {
	case role == "":
		c.skip("redis-role", s.at, "INFO is refused, so it is not known whether it is a primary")
		return
	case role != "master":
		f.What = fmt.Sprintf("is a replica of %s:%s: what is written elsewhere comes late, and what is published elsewhere is heard, and nothing that is published here", s.info["master_host"], s.info["master_port"])
		f.Change = "give all servers the address of the primary"
	case s.info["cluster_enabled"] == "1" && c.fleet.store.kind() == "redis":
		f.What, f.Change = "is one server of a Cluster, and others have other keys", "use redis+cluster:// here and redis.NewClusterClient in the servers"
	case replicas >= 2 && !guarded:
		f.Severity = warning
		f.What = fmt.Sprintf("has %s and min-replicas-to-write 0: when another one takes over it goes on confirming what is lost", plural(int(replicas), "replica"))
		f.Change = "CONFIG SET min-replicas-to-write 1"
	default:
		c.ok("redis-role", s.at, "is a primary with %s", plural(int(replicas), "replica"))
		return
	}
	c.add(f)
}

// redisMemory looks whether a server has room. Whether its policy harms the journal, the scripts tell.
func (c *checkup) redisMemory(s *redisServer) {
	limit, used, policy := s.number("maxmemory"), s.number("used_memory"), s.info["maxmemory_policy"]
	switch {
	case policy == "":
		c.skip("redis-memory", s.at, "INFO is refused, so its memory is not known")
	case limit > 0 && used*10 > limit*9 && policy == "noeviction":
		c.add(finding{
			Severity: warning, Check: "redis-memory", At: s.at, Page: "operations.md#settings-of-the-server",
			What:   fmt.Sprintf("uses %d %% of maxmemory, with noeviction: once it is full, no value is stored and loads are not shared", used*100/limit),
			Change: "raise maxmemory, or CONFIG SET maxmemory-policy volatile-lru",
		})
	case limit > 0:
		c.ok("redis-memory", s.at, "uses %d %% of maxmemory, with %s", used*100/limit, policy)
	default:
		c.ok("redis-memory", s.at, "has no maxmemory")
	}
}

func (c *checkup) redisDisk(s *redisServer) {
	if s.info["rdb_last_bgsave_status"] == "err" || s.info["aof_last_write_status"] == "err" {
		c.add(finding{
			Severity: critical, Check: "redis-disk", At: s.at, Page: "operations.md#settings-of-the-server",
			What:   "could not write to its disk: it refuses all writes then, and nothing is invalidated",
			Change: "mend what its log says, or CONFIG SET stop-writes-on-bgsave-error no",
		})
		return
	}
	if s.info != nil {
		c.ok("redis-disk", s.at, "writes to its disk, if it is to")
	}
}

func (c *checkup) redisClients(s *redisServer) {
	most, now := s.number("maxclients"), s.number("connected_clients")
	if most == 0 {
		return // an older version does not tell
	}
	if now*10 > most*8 {
		c.add(finding{
			Severity: warning, Check: "redis-clients", At: s.at, Page: "operations.md#settings-of-the-server",
			What: fmt.Sprintf("has %d of %d clients: more are refused", now, most), Change: "raise maxclients, or lower PoolSize in the servers",
		})
		return
	}
	c.ok("redis-clients", s.at, "has %d of %d clients", now, most)
}

// leastBuffer is what a subscriber may be behind with at least.
const leastBuffer = 1 << 20

func (c *checkup) redisBuffers(ctx context.Context, s *redisServer) {
	const setting = "client-output-buffer-limit"
	answer, err := s.client.ConfigGet(ctx, setting).Result()
	words := strings.Fields(answer[setting])
	at := slices.Index(words, "pubsub")
	if err != nil || at < 0 || len(words) < at+4 {
		c.skip("redis-buffers", s.at, "the user may not CONFIG GET, so %s is not known: its default is right", setting)
		return
	}
	hard, _ := strconv.ParseInt(words[at+1], 10, 64)
	soft, _ := strconv.ParseInt(words[at+2], 10, 64)
	f := finding{
		Severity: warning, Check: "redis-buffers", At: s.at, Page: "operations.md#settings-of-the-server",
		Change: "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60'",
	}
	switch {
	case hard == 0 && soft == 0:
		f.What = "has no limit for subscribers: one that stands still takes its memory, and records are evicted"
	case hard > 0 && hard < leastBuffer:
		f.What = fmt.Sprintf("ends the connection of a subscriber that is %d bytes behind: each time that is a gap", hard)
	default:
		c.ok("redis-buffers", s.at, "has a limit for subscribers")
		return
	}
	c.add(f)
}

// Differences of clocks from which on they are told.
const (
	clocksApart = 250 * time.Millisecond // of servers of a Cluster, a fraction of shared.Options.Timeout
	clockAside  = 2 * time.Second        // of one server and this host
)

func (c *checkup) redisClocks(all []*redisServer) {
	first, last := all[0], all[0]
	for _, s := range all {
		if s.clock < first.clock {
			first = s
		}
		if s.clock > last.clock {
			last = s
		}
	}
	switch apart := last.clock - first.clock; {
	case apart > clocksApart:
		c.add(finding{
			Severity: critical, Check: "redis-clock", At: last.at, Page: "operations.md#settings-of-the-server",
			What:   fmt.Sprintf("its clock is %v ahead of that of %s: writes are refused as late", rounded(apart), first.at),
			Change: "have an NTP daemon on all of them",
		})
	case first.clock.Abs() > clockAside:
		c.add(finding{
			Severity: warning, Check: "redis-clock", At: first.at, Page: "assumptions.md#servers",
			What:   fmt.Sprintf("its clock is %v off that of this host: revisions are times of it", rounded(first.clock)),
			Change: "have an NTP daemon on both, and set no clock back",
		})
	default:
		c.ok("redis-clock", first.at, "its clock agrees with that of this host within %v", clockAside)
	}
}

// connectionsLooked is how many connections are made to find out whether they lead to one server.
const connectionsLooked = 8

// redisAddress looks whether an address leads to one server.
func (c *checkup) redisAddress(ctx context.Context, s *redisServer) {
	if s.info["run_id"] == "" {
		c.skip("redis-address", s.at, "INFO is refused, so it is not known whether it leads to one server")
		return
	}
	runs := make(map[string]bool)
	var held []*redis.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	for range connectionsLooked {
		conn := s.client.Conn()
		held = append(held, conn)
		text, err := conn.Info(ctx, "server").Result()
		if err != nil {
			c.unreachable("redis-address", s.at, err)
			return
		}
		runs[parsedInfo(text)["run_id"]] = true
	}
	if len(runs) > 1 {
		c.add(finding{
			Severity: critical, Check: "redis-address", At: s.at, Page: "assumptions.md#servers",
			What:   fmt.Sprintf("leads to %d servers in turn: a write may be on one, and the read go to another", len(runs)),
			Change: "give the address of the primary; no balancer belongs in between",
		})
		return
	}
	c.ok("redis-address", s.at, "leads to one server")
}

// refused reports whether a server does not let the user run a command, or does not know it.
func refused(err error) bool {
	answer, said := errors.AsType[redis.Error](err)
	if !said {
		return false
	}
	text := strings.ToLower(answer.Error())
	return strings.HasPrefix(text, "noperm") || strings.Contains(text, "unknown command")
}
