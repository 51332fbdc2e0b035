package main

import (
	"context"
	"strings"
	"sync"
	"time"
)

// exitUnknown is what Nagios takes for a check that could not be made.
const exitUnknown = 3

func doctorCommand() *command {
	return &command{
		name: "doctor", summary: "look for what is not set up as it should be, and say what to change",
		about: `
Looks at what the guarantees stand on, as docs/assumptions.md lists it: servers, rights one by one,
settings, clocks, latency, the length of the journal against the rate of writes, and whether all
servers of the fleet are set up as one. Prints a line for each finding: how bad it is, what was looked
at, what is so, and what to change.

It writes only under names of its own, behind the namespace, and removes them.

Ends with 0 if all is well, 1 for warnings, 2 if something is critical, 3 if it could not look. What
the user has no right to look at is skipped, which is no trouble.`,
		examples: []string{
			"nearbus doctor",
			"nearbus doctor -timeout 5s -format nagios",
			"nearbus doctor -quiet -format prometheus > nearbus.new; mv nearbus.new /var/lib/node_exporter/nearbus.prom",
		},
		formats:  []string{"text", "json", "prometheus", "nagios"},
		run:      doctor,
		failCode: exitUnknown, usageCode: exitUnknown,
	}
}

func doctor(ctx context.Context, inv *invocation) error {
	if len(inv.args) > 0 {
		return usagef("what is %q for?", inv.args[0])
	}
	f, err := inv.openStore()
	if err != nil {
		return err
	}
	defer f.close()
	c := &checkup{inv: inv, fleet: f}
	limited, cancel := context.WithTimeout(ctx, inv.timeout-inv.tidying())
	defer cancel()
	p := inv.progress("looking")
	err = c.look(limited)
	p.stop()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = c.print()
	}
	if err == nil && c.worst() != fine {
		return coded{code: int(c.worst())}
	}
	return err
}

// look looks at the shared tier and at the bus: at once if they are on two servers, so that one that
// hangs leaves the other its time. The error is that of what was typed.
func (c *checkup) look(ctx context.Context) (err error) {
	if c.fleet.redis == nil || c.inv.busURL != "" && c.inv.busURL != c.inv.storeURL {
		c.together(func(c *checkup) { c.lookAtTier(ctx) }, func(c *checkup) { err = c.lookAtBus(ctx) })
		return err
	}
	if !c.lookAtTier(ctx) { // it would say the same once more
		c.skip("bus", c.fleet.store.String(), "not tried, because of what is critical")
		return nil
	}
	return c.lookAtBus(ctx)
}

// lookAtTier looks at the shared tier, and reports whether it can be used at all.
func (c *checkup) lookAtTier(ctx context.Context) (there bool) {
	switch {
	case c.fleet.redis != nil:
		return c.redisTier(ctx)
	case c.fleet.memcache != nil:
		c.memcachedTier(ctx)
	}
	return true
}

// together looks at several things at once, and notes what was found in their order.
func (c *checkup) together(looks ...func(*checkup)) {
	parts := make([]*checkup, len(looks))
	var looking sync.WaitGroup
	for i, look := range looks {
		parts[i] = &checkup{inv: c.inv, fleet: c.fleet}
		looking.Go(func() { look(parts[i]) })
	}
	looking.Wait()
	for _, part := range parts {
		c.found = append(c.found, part.found...)
	}
}

// tell says of the text of an error what people need of it.
func tell(err error) string {
	text := err.Error()
	for _, prefix := range []string{"redisstore: ", "memcachestore: ", "natsbus: ", "redisbus: ", "shared: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

// latencies are the round trips of some calls.
type latencies struct{ middle, longest time.Duration }

// Round trips from which on they are told: a read beyond the near tier takes one.
const (
	slowMiddle  = 20 * time.Millisecond
	slowLongest = 250 * time.Millisecond
	pings       = 21
)

// measure makes some calls, one after the other.
func measure(call func() error) (l latencies, err error) {
	var all []time.Duration
	for range pings {
		began := time.Now()
		if err := call(); err != nil {
			return l, err
		}
		all = append(all, time.Since(began))
	}
	sortDurations(all)
	return latencies{all[len(all)/2], all[len(all)-1]}, nil
}

// latency notes how long a server takes to answer.
func (c *checkup) latency(check, at string, l latencies) {
	switch {
	case l.middle > slowMiddle:
		c.add(finding{
			Severity: warning, Check: check, At: at, Page: "performance.md",
			What:   "an answer takes " + rounded(l.middle).String() + ", and each read beyond the near tier takes one",
			Change: "have servers and Redis in one place, or raise NearTTL",
		})
	case l.longest > slowLongest:
		c.add(finding{
			Severity: warning, Check: check, At: at, Page: "operations.md#clients-and-timeouts",
			What:   "an answer takes " + rounded(l.middle).String() + ", and one of " + plural(pings, "call") + " took " + rounded(l.longest).String(),
			Change: "look for slow commands on the server, and at its host: calls that take longer than shared.Options.Timeout (1 s) fail",
		})
	default:
		c.ok(check, at, "answers within %v, %v at most", rounded(l.middle), rounded(l.longest))
	}
}
