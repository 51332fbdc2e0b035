package main

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// stores does the same over Redis and over Memcached, through this library. Both
// have their bus in the same Redis.
func stores(e *env) []row {
	client, fleet := e.client(), e.name()
	server := value(servers.StartMemcached(e.ctx, "-m", "256"))
	e.atEnd(server.Stop)
	mc := memcache.New(server.Addr)
	mc.Timeout, mc.MaxIdleConns = 10*time.Second, 50
	e.atEnd(func() { _ = mc.Close() })

	type side struct {
		who    string
		users  *nearcache.Cache[user]
		weight func() float64
	}
	open := func(store driver.Store, name string) *nearcache.Cache[user] {
		n := e.open(value(shared.New(store, shared.Options{})), value(redisbus.New(client, redisbus.Options{Channel: name})), nearcache.NodeOptions{})
		return value(nearcache.New(n, "users", nearcache.Options[user]{NearTTL: time.Nanosecond}))
	}
	sides := []*side{
		{
			who:    "Redis",
			users:  open(value(redisstore.New(client, redisstore.Options{Prefix: fleet})), fleet),
			weight: func() float64 { return field(value(client.Info(e.ctx, "memory").Result()), `used_memory:(\d+)`) },
		},
		{
			who:    "Memcached",
			users:  open(value(memcachestore.New(mc, memcachestore.Options{Prefix: fleet})), fleet+"-m"),
			weight: func() float64 { return field(statistics(server.Addr, "stats slabs"), `total_malloced (\d+)`) },
		},
	}
	var weights []cell
	reads, writes := make([]contender, len(sides)), make([]contender, len(sides))
	for i, s := range sides {
		e.fill(keySpace, func(key string) error { return s.users.Set(e.ctx, "warm"+key[:8], someUser) })
		before := s.weight()
		e.fill(keySpace, func(key string) error { return s.users.Set(e.ctx, key, someUser) })
		weights = append(weights, cell{who: s.who, samples: []float64{(s.weight() - before) / keySpace}})
		reads[i] = each(s.who, func(i int) error {
			u, err := s.users.Fetch(e.ctx, keys[i%keySpace], mustNotLoad)
			return expect(u, err)
		})
		writes[i] = each(s.who, func(i int) error { return s.users.Set(e.ctx, keys[i%1000], someUser) })
	}
	missing := make([]contender, len(sides))
	for i, s := range sides {
		missing[i] = each(s.who, func(k int) error {
			u, err := s.users.Fetch(e.ctx, fmt.Sprintf("missing-%d", k), loadUser)
			return expect(u, err)
		})
	}
	return []row{
		{work: "a read, one caller", unit: nanoseconds, cells: e.compare(1, reads...)},
		{work: "reads, 64 callers", unit: perSecond, cells: rates(e.compare(callers, reads...))},
		{work: "a write, one caller", unit: nanoseconds, cells: e.compare(1, writes...)},
		{work: "writes, 64 callers", unit: perSecond, cells: rates(e.compare(callers, writes...))},
		{work: "a miss: read, lease, load, fill", unit: nanoseconds, cells: e.compare(1, missing...)},
		{work: "memory of the server for a record of 16 + " + strconv.Itoa(len(encodedUser)) + " bytes, journal included", unit: bytesEach, cells: weights},
	}
}

// field returns the number that a pattern finds.
func field(text, pattern string) float64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		must(fmt.Errorf("no %s", pattern))
	}
	return value(strconv.ParseFloat(m[1], 64))
}

// statistics asks Memcached for some.
func statistics(addr, command string) string {
	conn := value(net.Dial("tcp", addr))
	defer conn.Close()
	must(conn.SetDeadline(time.Now().Add(10 * time.Second)))
	_ = value(fmt.Fprintf(conn, "%s\r\n", command))
	var all strings.Builder
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "END"; {
		fmt.Fprintln(&all, lines.Text())
	}
	return all.String()
}
