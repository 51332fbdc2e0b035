package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nearbus/nearbus/bus"
)

// lookAtBus looks at the bus, and at who is there. The error is that of what was typed.
func (c *checkup) lookAtBus(ctx context.Context) error {
	c.fleet.looks = true
	err := c.fleet.openBus(ctx)
	var usage usageError
	switch {
	case errors.As(err, &usage) && c.inv.busURL == "" && c.fleet.store != nil:
		c.skip("bus", "", "no bus is given: servers without one hear of writes by the journal, or not at all")
		return nil
	case errors.As(err, &usage):
		return err
	case err != nil:
		c.unfit(err)
		return nil
	}
	if c.fleet.nats != nil {
		c.natsServer(ctx)
	}
	if c.fleet.transport == nil {
		return nil
	}
	l, err := c.fleet.listen(false)
	if err != nil {
		return err
	}
	defer l.leave(ctx)
	if err := l.subscribe(func(bus.Message) {}); err != nil {
		return err
	}
	if err := c.awaitReady(ctx, l); err != nil {
		if told := c.fleet.transport.Publish(ctx, nothing); told != nil {
			err = told
		}
		c.unfit(err)
		return nil
	}
	c.fleetOf(ctx, l)
	return nil
}

// nothing is a message that says nothing, of a type that no version uses: servers skip it.
var nothing = []byte{0xF8, 1, 0xFF}

// awaitReady waits until the bus is heard, and leaves time to publish: the error of that tells more.
func (c *checkup) awaitReady(ctx context.Context, l *listener) error {
	limited, cancel := context.WithTimeout(ctx, c.inv.timeout/2)
	defer cancel()
	return l.awaitReady(limited)
}

// unfit notes that the bus cannot be used.
func (c *checkup) unfit(err error) {
	f := finding{Severity: critical, Check: "bus", At: c.fleet.bus.String(), Page: "operations.md#least-rights"}
	text := tell(err)
	switch lower := strings.ToLower(text); {
	case strings.Contains(lower, "noperm"), strings.Contains(lower, "permissions violation"):
		f.What, f.Change = "the user may not publish and subscribe: "+text, "allow it both on the "+c.fleet.channel
	case strings.Contains(lower, "authorization violation"), strings.Contains(lower, "wrongpass"), strings.Contains(lower, "noauth"):
		f.What, f.Change = "refuses the user: "+text, "correct user, password or credentials"
	case strings.Contains(text, " must be "):
		f.What, f.Change, f.Page = text, "edit the stream, or delete it: the next server makes it anew", "operations.md#nats"
	case isTimeout(err):
		text = strings.TrimPrefix(text, fmt.Sprintf("the bus at %s is not heard: ", c.fleet.bus))
		text = strings.TrimPrefix(text, fmt.Sprintf("the bus: %s: ", c.fleet.bus))
		f.What, f.Change, f.Page = "does not answer: "+text, unstick, "operations.md#when-something-is-down"
	default:
		f.What, f.Change, f.Page = text, "start it, or correct the address", "operations.md#when-something-is-down"
	}
	c.add(f)
}

// fleetOf looks at who is there.
func (c *checkup) fleetOf(ctx context.Context, l *listener) {
	at := c.fleet.bus.String()
	if trip := l.Stats().RoundTrip; trip > 100*time.Millisecond {
		c.add(finding{
			Severity: warning, Check: "bus", At: at, What: fmt.Sprintf("a message takes %v", rounded(trip)),
			Change: "look at the load of its server", Page: "fleet.md",
		})
	} else {
		c.ok("bus", at, "a message takes %v", rounded(trip))
	}
	peers, err := l.roll(ctx)
	if errors.Is(err, errAlone) {
		c.add(finding{
			Severity: warning, Check: "fleet", At: at, What: "no server listens on " + c.fleet.channel,
			Change: "nothing if no server was started yet; otherwise compare address and namespace with those of the servers",
		})
		return
	}
	if err != nil {
		c.unfit(err)
		return
	}
	c.ok("fleet", at, "%s there: %s", areThere(len(peers)), namesOf(peers))
	differences, err := l.differences(ctx, peers)
	if err != nil {
		c.skip("fleet-alike", at, "servers do not tell their options: %v", err)
	}
	for _, text := range differences {
		c.difference(at, text)
	}
	if len(differences) == 0 && err == nil {
		c.ok("fleet-alike", at, "all servers have one shared tier, one namespace and one set of options")
	}
	c.fleetTier(ctx, peers)
	c.fleetAnswers(ctx, l, len(peers))
	if s := l.Stats(); s.Malformed > 0 {
		c.add(finding{
			Severity: warning, Check: "bus-messages", At: at, What: fmt.Sprintf("%s came that cannot be read", plural(int(s.Malformed), "message")),
			Change: "find who else publishes on " + c.fleet.channel, Page: "operations.md#who-may-publish",
		})
	}
}

// difference notes in what servers are not set up alike.
func (c *checkup) difference(at, text string) {
	f := finding{Severity: warning, Check: "fleet-alike", At: at, What: text, Page: "operations.md#logs"}
	f.Change = "give all servers one set of options, or their caches two names"
	if strings.Contains(text, "another shared tier") || strings.Contains(text, "another namespace") {
		f.Severity = critical
		f.Change = "give all of them one address, database, namespace, number of partitions and order of servers, then nearbus clear each cache"
	}
	c.add(f)
}

// fleetTier compares the shared tier of servers with the one that is given.
func (c *checkup) fleetTier(ctx context.Context, peers []bus.Peer) {
	silent := slices.DeleteFunc(slices.Clone(peers), func(p bus.Peer) bool { return p.About.Tier != 0 || p.Version == 0 })
	if len(silent) > 0 && len(silent) < len(peers) {
		c.add(finding{
			Severity: warning, Check: "fleet-tier", At: c.fleet.bus.String(),
			What:   namesOf(silent) + " " + have(len(silent)) + " not reached a shared tier, or have none, beside others that do",
			Change: "look at the log of these servers", Page: "operations.md#logs",
		})
	}
	if c.fleet.store == nil {
		return
	}
	foreign, err := c.fleet.foreign(ctx, peers)
	switch {
	case err != nil:
		c.skip("fleet-tier", c.fleet.store.String(), "%v", tell(err))
	case len(foreign) > 0:
		c.add(finding{
			Severity: critical, Check: "fleet-tier", At: c.fleet.store.String(),
			What:   "the shared tier is not that of " + few(foreign) + ": what is written here they do not see",
			Change: "compare host, database, namespace, partitions, and the order of servers of Memcached", Page: "operations.md#logs",
		})
	default:
		c.ok("fleet-tier", c.fleet.store.String(), "is the shared tier of all servers")
	}
}

// answersWithin is how long servers have to answer a barrier: until it is known who listens, and
// a server has read its journal.
const answersWithin = 6 * time.Second

// fleetAnswers asks every server whether it has applied everything: who answers hears the bus, and
// reads its journal.
func (c *checkup) fleetAnswers(ctx context.Context, l *listener, count int) {
	within := answersWithin
	if end, limited := ctx.Deadline(); limited {
		within = min(within, time.Until(end).Round(100*time.Millisecond))
	}
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	answered, err := l.Barrier(limited, bus.BarrierOptions{AtLeast: count})
	barrier, late := errors.AsType[*bus.BarrierError](err)
	switch {
	case err == nil:
		c.ok("fleet-answers", c.fleet.bus.String(), "%s the bus and can read the journal, if there is one", hears(answered))
	case interrupted(ctx):
	case late && len(barrier.Missing) > 0:
		c.add(finding{
			Severity: critical, Check: "fleet-answers", At: c.fleet.bus.String(), Page: "operations.md#logs",
			What: few(barrier.Missing) + " " + have(len(barrier.Missing)) + " not answered within " + within.String() +
				", though heard: it does not hear the bus, cannot read its journal, or stands still",
			Change: "look at the log of that server, and whether its network, account or rights let messages pass one way only",
		})
	default:
		change := "look again"
		if within < answersWithin {
			change = "give a longer -timeout, such as 10s"
		}
		c.add(finding{
			Severity: warning, Check: "fleet-answers", At: c.fleet.bus.String(), Page: "operations.md#logs",
			What: fmt.Sprintf("%d of %s answered whether all is applied: %s", answered, plural(count, "server"), tell(err)), Change: change,
		})
	}
}

func hears(n int) string {
	if n == 1 {
		return "1 server answers: it hears"
	}
	return fmt.Sprintf("%d servers answer: they hear", n)
}

// leastPayload is what a server of NATS should take: a batch has up to 64 KiB.
const leastPayload = 64 << 10

// natsServer looks at the server of NATS, and at the stream.
func (c *checkup) natsServer(ctx context.Context) {
	nc, at := c.fleet.nats, c.fleet.bus.String()
	c.ok("nats-version", at, "is NATS %s", nc.ConnectedServerVersion())
	if l, err := measure(func() error { return nc.FlushWithContext(ctx) }); err == nil {
		c.latency("nats-latency", at, l)
	}
	if most := nc.MaxPayload(); most < leastPayload {
		c.add(finding{
			Severity: warning, Check: "nats-payload", At: at, Page: "operations.md#servers",
			What:   fmt.Sprintf("takes messages of %d bytes, less than a batch has: more are sent", most),
			Change: "raise max_payload to 64 KiB or more",
		})
	}
	if strings.HasSuffix(c.fleet.bus.kind(), "+jetstream") {
		c.natsStream(ctx)
	}
}

// natsStream looks at the stream before the bus does, which makes it if it is not there.
func (c *checkup) natsStream(ctx context.Context) {
	at := c.fleet.bus.String()
	js, err := jetstream.New(c.fleet.nats)
	if err != nil {
		c.unfit(err)
		return
	}
	stream, err := js.Stream(ctx, c.fleet.streamName())
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		c.add(finding{
			Severity: warning, Check: "nats-stream", At: at, What: "there is no stream " + c.fleet.streamName() + " yet",
			Change: "nothing if no server was started yet: the first makes it. Otherwise correct -namespace, or use nats:// if servers use core NATS",
		})
		return
	case err != nil:
		c.add(finding{
			Severity: critical, Check: "nats-stream", At: at, What: "JetStream does not answer: " + tell(err),
			Change: "switch JetStream on, and allow the user its API", Page: "operations.md#least-rights-1",
		})
		return
	}
	c.judgeStream(at, stream.CachedInfo())
	if account, err := js.AccountInfo(ctx); err == nil {
		c.judgeAccount(at, account)
	}
	if err := c.fleet.openStream(ctx); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			c.unfit(errors.New(strings.TrimPrefix(line, "natsbus: NewStream: ")))
		}
	}
}

// judgeStream looks at how many servers have a stream, and how far it goes back.
func (c *checkup) judgeStream(at string, info *jetstream.StreamInfo) {
	f := finding{Severity: warning, Check: "nats-stream", At: at, Page: "operations.md#servers"}
	bad := len(c.found)
	if info.Cluster != nil && info.Cluster.Name != "" && info.Config.Replicas < 2 {
		f.What, f.Change = "the stream is on one server of the cluster: while it is away nothing is published", "natsbus.StreamOptions.Replicas 3 in all servers, and edit the stream"
		c.add(f)
	}
	span := info.State.LastTime.Sub(info.State.FirstTime)
	if most := info.Config.MaxBytes; most > 0 && info.State.Bytes*10 > uint64(most)*9 && span < tooShortJournal {
		f.What = fmt.Sprintf("the stream is full, and goes back %v at the rate of messages now: a server that is away for longer has a gap", rounded(span))
		f.Change = "raise natsbus.StreamOptions.MaxBytes in all servers, and edit the stream"
		c.add(f)
	}
	if len(c.found) == bad {
		c.ok("nats-stream", at, "the stream %s has %s", info.Config.Name, plural(int(info.State.Msgs), "message"))
	}
}

// judgeAccount looks at the limits of the account. Each server has a consumer.
func (c *checkup) judgeAccount(at string, account *jetstream.AccountInfo) {
	f := finding{Severity: warning, Check: "nats-account", At: at, Page: "operations.md#servers", Change: "raise the limits of the account"}
	tier := account.Tier
	switch {
	case tier.Limits.MaxConsumers > 0 && tier.Consumers*10 > tier.Limits.MaxConsumers*8:
		f.What = fmt.Sprintf("the account has %d of %d consumers, and each server has one", tier.Consumers, tier.Limits.MaxConsumers)
	case tier.Limits.MaxStore > 0 && tier.Store*10 > uint64(tier.Limits.MaxStore)*9:
		f.What = fmt.Sprintf("the account uses %d of %d bytes of storage: nothing is published once they are full", tier.Store, tier.Limits.MaxStore)
	case tier.Limits.MaxMemory > 0 && tier.Memory*10 > uint64(tier.Limits.MaxMemory)*9:
		f.What = fmt.Sprintf("the account uses %d of %d bytes of memory", tier.Memory, tier.Limits.MaxMemory)
	default:
		c.ok("nats-account", at, "the limits of the account leave room")
		return
	}
	c.add(f)
}
