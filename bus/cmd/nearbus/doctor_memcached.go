package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

func sortDurations(all []time.Duration) { slices.Sort(all) }

// memcachedServer is a connection to one.
type memcachedServer struct {
	at   string
	conn net.Conn
	read *bufio.Reader
}

// memcachedTier looks at each Memcached of the shared tier.
func (c *checkup) memcachedTier(ctx context.Context) {
	looks := make([]func(*checkup), len(c.fleet.store.hosts))
	for i, at := range c.fleet.store.hosts {
		looks[i] = func(c *checkup) {
			if err := c.memcachedAnswers(ctx, at); err != nil {
				c.unreachable("memcached", at, err)
			}
		}
	}
	c.together(looks...)
}

// memcachedAnswers looks at a server. The error is that it does not answer.
func (c *checkup) memcachedAnswers(ctx context.Context, at string) error {
	s, err := dialMemcached(ctx, at, c.inv.answerWithin())
	if err != nil {
		return err
	}
	defer s.conn.Close()
	return c.memcachedServer(s)
}

func dialMemcached(ctx context.Context, at string, within time.Duration) (*memcachedServer, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "tcp", at)
	if err != nil {
		return nil, err
	}
	end, _ := limited.Deadline()
	return &memcachedServer{at: at, conn: conn, read: bufio.NewReaderSize(conn, 4096)}, conn.SetDeadline(end)
}

// ask sends a command, and returns the answer up to a line with this beginning.
func (s *memcachedServer) ask(command, end string) (lines []string, err error) {
	if _, err := fmt.Fprintf(s.conn, "%s\r\n", command); err != nil {
		return nil, err
	}
	const mostLines = 1000
	for len(lines) < mostLines {
		line, err := s.read.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSpace(line)
		if strings.Contains(line, "ERROR") {
			return nil, fmt.Errorf("it answers %q to %s", line, command)
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, end) {
			break
		}
	}
	return lines, nil
}

func (s *memcachedServer) stats(command string) (map[string]string, error) {
	lines, err := s.ask(command, "END")
	fields := make(map[string]string)
	for _, line := range lines {
		if words := strings.SplitN(line, " ", 3); len(words) == 3 && words[0] == "STAT" {
			fields[words[1]] = words[2]
		}
	}
	return fields, err
}

func (c *checkup) memcachedServer(s *memcachedServer) error {
	l, err := measure(func() error { _, err := s.ask("version", "VERSION"); return err })
	if err != nil {
		return err
	}
	c.latency("memcached-latency", s.at, l)
	stats, err := s.stats("stats")
	if err != nil {
		return err
	}
	settings, err := s.stats("stats settings")
	if err != nil {
		return err
	}
	c.ok("memcached-version", s.at, "is Memcached %s", stats["version"])
	c.memcachedSettings(s.at, settings)
	c.memcachedState(s.at, stats)
	return nil
}

// memcachedSettings looks at how a server was started.
func (c *checkup) memcachedSettings(at string, settings map[string]string) {
	bad := len(c.found)
	f := finding{Severity: critical, At: at, Page: "operations.md#memcached"}
	if settings["cas_enabled"] == "no" {
		f.Check, f.What, f.Change = "memcached-cas", "was started without cas (-C): every call fails", "start it without -C"
		c.add(f)
	}
	if settings["evictions"] == "off" {
		f.Check, f.What = "memcached-eviction", "may not evict (-M): once it is full, no value can be made absent, and old values stay"
		f.Change = "start it without -M"
		c.add(f)
	}
	if size, _ := strconv.Atoi(settings["item_size_max"]); size > 0 && size < 1<<20 {
		f.Severity, f.Check = warning, "memcached-item"
		f.What = fmt.Sprintf("takes items of %d bytes at most (-I), less than MaxItem by default: larger ones are sent in vain", size)
		f.Change = fmt.Sprintf("start it with -I 1m, or set memcachestore.Options.MaxItem to %d", size)
		c.add(f)
	}
	if len(c.found) == bad {
		c.ok("memcached-settings", at, "has cas, may evict, and takes items of %s bytes", settings["item_size_max"])
	}
}

// memcachedState looks at what a server did.
func (c *checkup) memcachedState(at string, stats map[string]string) {
	number := func(name string) int64 { n, _ := strconv.ParseInt(stats[name], 10, 64); return n }
	f := finding{Severity: warning, At: at, Page: "operations.md#memcached"}
	if n := number("cmd_flush"); n > 0 {
		f.Check, f.What = "memcached-flush", fmt.Sprintf("flush_all was used %d times since it was started: what servers hold near stays until the near TTL", n)
		f.Change = "use nearbus clear in place of flush_all"
		c.add(f)
	} else {
		c.ok("memcached-flush", at, "flush_all was not used")
	}
	if n := number("evictions"); n > 0 {
		f.Check, f.What = "memcached-memory", fmt.Sprintf("has evicted %d items since it was started, watermarks of clear and of tags may be among them", n)
		f.Change = "give it the memory for all records (-m)"
		c.add(f)
	} else {
		c.ok("memcached-memory", at, "has evicted nothing")
	}
	if now := number("time"); now > 0 {
		apart := time.Until(time.Unix(now, 0))
		if apart.Abs() > clockAside {
			f.Check, f.What = "memcached-clock", fmt.Sprintf("its clock is %v off that of this host: records are stamped by clocks of servers", apart.Round(time.Second))
			f.Change = "have an NTP daemon on all hosts of the fleet"
			c.add(f)
		} else {
			c.ok("memcached-clock", at, "its clock agrees with that of this host within %v", clockAside)
		}
	}
	if most, now := number("max_connections"), number("curr_connections"); most > 0 && now*10 > most*8 {
		f.Check, f.What = "memcached-clients", fmt.Sprintf("has %d of %d connections: more wait", now, most)
		f.Change = "start it with a larger -c, or lower MaxIdleConns in the servers"
		c.add(f)
	}
}
