package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// field is what a run takes place on: servers, the ways to them and the
// processes.
type field struct {
	plan  plan
	dir   string
	redis *servers.Process
	other *servers.Process // the bus, if it is a Redis of its own
	nats  *servers.NATSServer

	sentinel *servers.Sentinel  // in place of redis
	cluster  *servers.Cluster   // likewise
	shards   []*servers.Process // likewise
	layout   layout             // of the keys of several servers

	toRedis, toBus []*servers.Relay   // of each process
	toShards       [][]*servers.Relay // to each shard, of each process
	nodes          []*process
	faults         []history.Span
	losses         []history.Loss
	vitals         [][]vitals // of the processes, at the end of each quarter
	evidence       uint64     // of faults, as the scenario counts it
}

// layout says which journal tells of a key.
type layout interface {
	Partitions() int
	Partition(key string) int
}

// plan is a scenario with what is the same for all.
type plan struct {
	scenario scenario
	subject  string
	seed     uint64

	nodes, keys       int
	reads, writes     int           // a second and node
	atLeast           time.Duration // how long to go on
	enoughReads       int
	enoughWrites      int
	enoughFaults      int
	repair, staleness time.Duration
	off               []string
	features          bool // see featureOptions
	measured          bool // each quarter, see vitals

	// programs run the nodes, the first ones of these; the others are run by this one.
	programs []string
}

func open(ctx context.Context, p plan) (_ *field, err error) {
	f := &field{plan: p}
	if f.dir, err = os.MkdirTemp("", "nearbus-checker-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if err := createSource(filepath.Join(f.dir, "source"), p.keys); err != nil {
		return nil, err
	}
	busAddr, err := f.startServers(ctx)
	if err != nil {
		return nil, err
	}
	for i := range p.nodes {
		if err := f.addNode(i, busAddr); err != nil {
			return nil, err
		}
	}
	return f, f.tellAll("hello") // they are at work then
}

// startServers returns the address of the bus.
func (f *field) startServers(ctx context.Context) (busAddr string, err error) {
	s := &f.plan.scenario
	switch s.tier {
	case "sentinel":
		f.sentinel, err = servers.StartRedisSentinel(ctx, 2, s.redis...)
	case "cluster", "replicated cluster":
		clocks := s.clocks
		if clocks == nil {
			clocks = make([]time.Duration, 3)
		}
		f.cluster, err = servers.StartRedisClusterAt(ctx, clocks, s.redis...)
		if err == nil && s.tier == "replicated cluster" {
			err = f.cluster.Replicate(ctx)
		}
		if err == nil {
			f.layout, err = redisstore.New(redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true}), redisstore.Options{})
		}
	case "shards":
		err = f.startShards(ctx)
	default:
		if f.redis, err = servers.StartRedis(ctx, s.redis...); err == nil {
			busAddr = f.redis.Addr
		}
	}
	if err != nil {
		return "", err
	}
	switch s.bus {
	case "pubsub":
		if f.other, err = servers.StartRedis(ctx); err == nil {
			busAddr = f.other.Addr
		}
	case "nats", "jetstream":
		if f.nats, err = servers.StartNATS(servers.JetStream); err == nil {
			busAddr = f.nats.Addr
		}
	}
	return busAddr, err
}

const shards = 3

func (f *field) startShards(ctx context.Context) error {
	var clients []redis.UniversalClient // which are asked nothing
	for range shards {
		server, err := servers.StartRedis(ctx, f.plan.scenario.redis...)
		if err != nil {
			return err
		}
		f.shards = append(f.shards, server)
		clients = append(clients, redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true}))
	}
	f.toShards = make([][]*servers.Relay, shards)
	store, err := overShards(clients)
	f.layout = store
	return err
}

// waysToShards returns those of one more process.
func (f *field) waysToShards() (addrs []string, err error) {
	for i, server := range f.shards {
		r, err := servers.StartRelay(server.Addr)
		if err != nil {
			return nil, err
		}
		f.toShards[i] = append(f.toShards[i], r)
		addrs = append(addrs, r.Addr)
	}
	return addrs, nil
}

func (f *field) addNode(i int, busAddr string) error {
	set := settings{
		Subject: f.plan.subject, Seed: f.plan.seed, Node: i, Nodes: f.plan.nodes, Keys: f.plan.keys,
		Source: filepath.Join(f.dir, "source"), BusKind: f.plan.scenario.bus,
		JournalInterval: f.plan.repair, MaxStaleness: f.plan.staleness, Off: f.plan.off, Features: f.plan.features,
		SlowLoads: f.plan.scenario.slowLoads, ReadsPerSecond: f.plan.reads, WritesPerSecond: f.plan.writes,
	}
	switch {
	case f.sentinel != nil:
		set.Watcher = f.sentinel.Watcher.Addr
	case f.cluster != nil:
		set.Cluster = f.cluster.Addrs()
	case f.shards != nil:
		addrs, err := f.waysToShards()
		if err != nil {
			return err
		}
		set.Shards = addrs
	default:
		r, err := servers.StartRelay(f.redis.Addr)
		if err != nil {
			return err
		}
		f.toRedis, set.Redis = append(f.toRedis, r), r.Addr
	}
	if busAddr != "" {
		r, err := servers.StartRelay(busAddr)
		if err != nil {
			return err
		}
		f.toBus, set.Bus = append(f.toBus, r), r.Addr
	}
	p := &process{settings: set}
	if i < len(f.plan.programs) {
		p.program = f.plan.programs[i]
	}
	if err := p.start(f.dir); err != nil {
		return err
	}
	f.nodes = append(f.nodes, p)
	return nil
}

func (f *field) close() {
	for _, p := range f.nodes {
		if p.command.ProcessState == nil {
			_ = p.kill()
		}
	}
	for _, r := range slices.Concat(append(f.toShards, f.toRedis, f.toBus)...) {
		r.Stop()
	}
	for _, s := range append(f.shards, f.redis, f.other) {
		if s != nil {
			s.Stop()
		}
	}
	if f.nats != nil {
		f.nats.Stop()
	}
	if f.sentinel != nil {
		f.sentinel.Stop()
	}
	if f.cluster != nil {
		f.cluster.Stop()
	}
	_ = os.RemoveAll(f.dir) // A leftover in the system's temporary directory harms nobody.
}

const warmUp = time.Second

// run lets the fault come and go until enough has happened, lets everything
// come to rest and returns what there is to check.
func (f *field) run(ctx context.Context) (history.History, []report, error) {
	began := time.Now()
	pause(ctx, warmUp)
	for i := 0; ; i++ {
		if err := f.occur(ctx, i); err != nil {
			return history.History{}, nil, err
		}
		if err := f.measure(time.Since(began)); err != nil {
			return history.History{}, nil, err
		}
		seconds := time.Since(began).Seconds()
		if i+1 >= f.plan.enoughFaults && time.Since(began) >= f.plan.atLeast &&
			int(seconds*float64(f.plan.reads*f.plan.nodes)) >= f.plan.enoughReads*3/2 &&
			int(seconds*float64(f.plan.writes*f.plan.nodes)) >= f.plan.enoughWrites*3/2 {
			break
		}
	}
	reports, err := f.rest(ctx)
	if err != nil {
		return history.History{}, nil, err
	}
	h := history.History{Faults: f.faults, Losses: f.losses, AbsentAt: absentAt}
	if h.Latest, err = latest(filepath.Join(f.dir, "source")); err != nil {
		return history.History{}, nil, err
	}
	for _, p := range f.nodes {
		for _, name := range p.journals {
			life, err := readJournal(name)
			if err != nil {
				return history.History{}, nil, err
			}
			h.Lives = append(h.Lives, life)
		}
	}
	return h, reports, nil
}

// partitions returns how many journals the shared tier keeps, and partition
// that of a key.
func (f *field) partitions() int {
	if f.layout == nil {
		return 1
	}
	return f.layout.Partitions()
}

func (f *field) partition(key uint32) int {
	if f.layout == nil {
		return 0
	}
	return f.layout.Partition(cacheName + ":" + keyName(key))
}

func (f *field) occur(ctx context.Context, i int) error {
	s := history.Span{Start: now()}
	seen, err := f.plan.scenario.strike(ctx, f, i)
	s.End = now()
	if err != nil {
		return fmt.Errorf("checker: %s: %w", f.plan.scenario.name, err)
	}
	f.evidence += seen
	f.faults = append(f.faults, s)
	pause(ctx, f.plan.scenario.between)
	return ctx.Err()
}

// rest ends all work, waits for longer than any bound, and has every process
// read every key.
func (f *field) rest(ctx context.Context) ([]report, error) {
	if err := f.tellAll("rest"); err != nil {
		return nil, err
	}
	pause(ctx, f.plan.staleness+2*time.Second)
	if err := f.tellAll("look"); err != nil {
		return nil, err
	}
	reports := make([]report, len(f.nodes))
	for i, p := range f.nodes {
		answer, err := p.tell("report")
		if err == nil {
			err = json.Unmarshal(answer, &reports[i])
		}
		if err == nil {
			err = p.end()
		}
		if err != nil {
			return nil, err
		}
	}
	return reports, nil
}

func (f *field) tellAll(command string) error {
	var all errgroup.Group
	for _, p := range f.nodes {
		all.Go(func() error {
			_, err := p.tell(command)
			return err
		})
	}
	return all.Wait()
}

// harm counts what the relays did to connections.
func harm(relays []*servers.Relay) (n uint64) {
	for _, r := range relays {
		h := r.Harm()
		n += h.Cut + h.Dropped + h.Held
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

var errNoFault = errors.New("checker: the fault did not happen")
