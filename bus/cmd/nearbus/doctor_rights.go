package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// scratch returns the beginning of keys that doctor may write: behind the namespace, as rights for
// keys want it, and apart from those of records, which go on with a brace.
func (c *checkup) scratch() string {
	name, _ := driver.Namespace(c.inv.namespace) // it is valid: the store was opened
	return fmt.Sprintf("%s:doctor-%08x", name, rand.Uint32())
}

// right is a command that the user must be allowed.
type right struct {
	name     string
	without  string // what is not possible
	severity severity
	try      func(ctx context.Context, c redis.Cmdable, a, b string) error
}

func do(ctx context.Context, c redis.Cmdable, args ...any) error {
	cmd := redis.NewCmd(ctx, args...)
	return c.(interface { // every client has it
		Process(ctx context.Context, cmd redis.Cmder) error
	}).Process(ctx, cmd)
}

// rights are those of docs/operations.md, in an order in which each finds what it needs.
var rights = []right{
	{"set", "nothing is stored", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "SET", a, "v", "PX", 60000)
	}},
	{"setrange", "nothing is stored", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "SETRANGE", a, 0, "v")
	}},
	{"getrange", "nothing is stored", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "GETRANGE", a, 0, 1)
	}},
	{"get", "nothing is read", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error { return do(ctx, c, "GET", a) }},
	{"mget", "nothing is read", critical, func(ctx context.Context, c redis.Cmdable, a, b string) error { return do(ctx, c, "MGET", a, b) }},
	{"time", "nothing is stored", critical, func(ctx context.Context, c redis.Cmdable, _, _ string) error { return do(ctx, c, "TIME") }},
	{"eval", "nothing is stored", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "EVAL", "return 1", 1, a)
	}},
	{"evalsha", "nothing is stored", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "EVALSHA", strings.Repeat("0", 40), 1, a)
	}},
	{"pexpireat", "Touch is refused", warning, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "PEXPIREAT", a, time.Now().Add(time.Minute).UnixMilli())
	}},
	{"rename", "values of 2 KiB or more cost several times as much", warning, func(ctx context.Context, c redis.Cmdable, a, b string) error {
		return do(ctx, c, "RENAME", a, b)
	}},
	{"xadd", "there is no journal, and writes fail", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "XADD", a+"!journal", "MAXLEN", "~", 1, "*", "k", "v")
	}},
	{"xrange", "the journal cannot be read, and servers believe nothing", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "XRANGE", a+"!journal", "-", "+", "COUNT", 1)
	}},
	{"xrevrange", "the journal cannot be read, and servers believe nothing", critical, func(ctx context.Context, c redis.Cmdable, a, _ string) error {
		return do(ctx, c, "XREVRANGE", a+"!journal", "+", "-", "COUNT", 1)
	}},
	{"del", "the journal cannot be begun", critical, func(ctx context.Context, c redis.Cmdable, a, b string) error {
		return do(ctx, c, "DEL", a, b, a+"!journal")
	}},
	{"info", "a restart or a failover that loses writes may not be noticed", warning, func(ctx context.Context, c redis.Cmdable, _, _ string) error {
		return do(ctx, c, "INFO", "server")
	}},
}

// clusterRights are what a Cluster takes besides.
var clusterRights = []right{
	{"cluster|slots", "the client does not find the keys", critical, func(ctx context.Context, c redis.Cmdable, _, _ string) error {
		return do(ctx, c, "CLUSTER", "SLOTS")
	}},
	{"command", "go-redis asks for it in vain each time, and logs that", warning, func(ctx context.Context, c redis.Cmdable, _, _ string) error {
		return do(ctx, c, "COMMAND", "COUNT")
	}},
}

// redisRights tries the rights, one by one, and reports whether the scripts can be tried.
func (c *checkup) redisRights(ctx context.Context, s *redisServer) (usable bool) {
	prefix := c.scratch()
	defer c.sweep(ctx, prefix, 1) // the journal has no end of its own
	a := prefix + ":{0}"
	b := a + ":other"
	all := rights
	if c.fleet.store.kind() == "redis+cluster" {
		all = slices.Concat(rights, clusterRights)
	}
	var lacks []right
	for _, r := range all {
		err := r.try(ctx, c.fleet.redis, a, b)
		switch {
		case err == nil, !refused(err): // what else is wrong, the scripts tell
		case foreignKeys(err):
			c.add(finding{
				Severity: critical, Check: "redis-rights", At: s.at, Page: "operations.md#least-rights",
				What:   fmt.Sprintf("the user %s may not use keys that begin with %s", c.user(), strings.SplitN(a, "doctor-", 2)[0]),
				Change: fmt.Sprintf("ACL SETUSER %s ~%s*, or correct -namespace", c.user(), strings.SplitN(a, "doctor-", 2)[0]),
			})
			return false
		default:
			lacks = append(lacks, r)
		}
	}
	usable = true
	for _, r := range lacks {
		usable = usable && r.severity != critical
		c.add(finding{
			Severity: r.severity, Check: "redis-rights", At: s.at, Page: "operations.md#least-rights",
			What: fmt.Sprintf("the user %s may not run %s: %s", c.user(), r.name, r.without), Change: fmt.Sprintf("ACL SETUSER %s +%s", c.user(), r.name),
		})
	}
	if len(lacks) == 0 {
		c.ok("redis-rights", s.at, "the user %s has all %d rights of the store", c.user(), len(all))
	}
	return usable
}

func (c *checkup) user() string {
	if c.fleet.store.user == "" {
		return "default"
	}
	return word(c.fleet.store.user)
}

// foreignKeys reports whether the user may not use a key, whatever the command.
func foreignKeys(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.HasPrefix(text, "noperm") && strings.Contains(text, "key")
}

// redisScripts has the store write and read under names of its own, and tells what it says.
func (c *checkup) redisScripts(ctx context.Context) {
	at, prefix := c.fleet.store.String(), c.scratch()
	store, err := redisstore.New(c.fleet.redis, redisstore.Options{Prefix: prefix, Partitions: c.inv.partitions})
	if err != nil {
		c.add(finding{Severity: critical, Check: "redis-scripts", At: at, What: tell(err)})
		return
	}
	defer c.sweep(ctx, prefix, store.Partitions())
	reads := make([]driver.TailRead, store.Partitions())
	for i := range reads {
		reads[i] = driver.TailRead{Partition: i, Limit: 1}
	}
	said := make(map[string]bool)
	for _, tail := range store.Tail(ctx, reads) {
		switch {
		case tail.Err != nil && !said[tail.Err.Error()]:
			said[tail.Err.Error()] = true
			c.add(finding{
				Severity: critical, Check: "redis-scripts", At: at, Page: "operations.md#settings-of-the-server",
				What: "the journal cannot be read: " + tell(tail.Err),
			})
		case tail.Err == nil && tail.Warning != nil && !said[tail.Warning.Error()]:
			said[tail.Warning.Error()] = true
			c.journalWarning(at, tell(tail.Warning))
		}
	}
	if len(said) == 0 {
		c.ok("redis-scripts", at, "scripts run, say which run of the server it is, and may not lose the journal by eviction")
	}
	record := driver.Record{Kind: driver.KindValue, Nonce: driver.NewNonce(), Value: []byte("doctor")}
	write := driver.Write{Key: "doctor", Image: record.Append(nil), TTL: time.Minute}
	if err := store.Write(ctx, []driver.Write{write})[0].Err; err != nil {
		c.add(finding{
			Severity: critical, Check: "redis-write", At: at, Page: "operations.md#settings-of-the-server",
			What: "a value cannot be stored: " + tell(err),
		})
		return
	}
	c.ok("redis-write", at, "stores values")
}

// journalWarning notes what the store warns of, each part by itself.
func (c *checkup) journalWarning(at, text string) {
	for part := range strings.SplitSeq(text, "; ") {
		f := finding{Severity: warning, Check: "redis-eviction", At: at, What: part, Page: "operations.md#settings-of-the-server"}
		if what, change, found := strings.Cut(part, ": set "); found {
			f.What, f.Change = what, "CONFIG SET maxmemory-policy to "+change
		} else {
			f.Check, f.Page = "redis-info", "operations.md#servers-that-do-not-say-who-they-are"
			f.Change = "allow INFO to the user (+info), or use a server that loses nothing, a short TTL, or nearbus clear after a failover"
		}
		c.add(f)
	}
}

// sweep removes what was written under names of doctor.
func (c *checkup) sweep(ctx context.Context, prefix string, partitions int) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.inv.tidying()/2)
	defer cancel()
	_, _ = c.fleet.redis.Pipelined(limited, func(pipe redis.Pipeliner) error {
		for p := range partitions {
			key := fmt.Sprintf("%s:{%d}", prefix, p)
			pipe.Del(limited, key, key+"!journal", key+":doctor")
		}
		return nil
	})
}
