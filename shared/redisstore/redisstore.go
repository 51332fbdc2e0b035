// Package redisstore is a shared tier in Redis, on any client of go-redis: one server,
// Sentinel, Cluster or Ring.
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		PoolSize:              50,
//		MaxRetries:            -1,   // the caller decides what is tried again
//		DialerRetries:         1,    // a server that is down is noticed at once
//		ContextTimeoutEnabled: true, // or a call may outlast its context
//	})
//	store, err := redisstore.New(client, redisstore.Options{})
//	tier, err := shared.New(store, shared.Options{})
//
// # Requests
//
// Reads are plain GET and MGET. Every write, fill and lease is one step of a script, called
// by EVALSHA, and sent whole when the server does not have the script. Several of a partition,
// 64 at most, share a call of the script, in which each is carried out, or fails, by itself.
// The calls are one pipeline to each server.
//
// On one server, concurrent single requests share a request: reads an MGET, and writes,
// fills and leases a pipeline. How many requests are under way at a time, at most the
// PoolSize of the client, and how much shares one, follows from the round trips that the
// store measures. The context of a shared request ends when the last caller has no time
// left, and has the values of that caller's context, for hooks of the client.
//
// An image of 2 KiB or more is put under a key of its own, in the same pipeline as the
// script, which renames the key. Redis then does not copy the image.
//
// The store keeps no connection, and never closes the client. The store has goroutines
// for shared requests. While the run of a server is not known, a write may start another
// goroutine, which ends within a second.
//
// # Keys
//
// The record of key is under "prefix:{p}:key", where p is a partition, a number that
// depends on the key. The metadata of the partition is under "prefix:{p}". Its journal,
// a stream of writes, is under "prefix:{p}!journal". A long image is for a moment under
// "prefix:{p}!" and 16 hexadecimal digits. The highest clock of the watermarks that were
// swept is under "prefix:{p}!swept". The key "prefix:{p}!none" is never there.
//
// Records expire by themselves; metadata, journals and "!swept" do not. Set maxmemory-policy to
// noeviction, or to one of volatile-*. With a policy that may evict metadata or a
// journal, nodes start from an empty near tier each time. Nodes warn of such a policy
// in the log. A full server without evictions refuses values, but not the requests that
// make values absent.
//
// # Failover
//
// With two replicas or more, set min-replicas-to-write to 1: a deposed primary without
// knowledge of the successor then confirms nothing. With one replica leave the setting
// at 0, or the loss of the replica stops all writes. At 0, a node that reaches only the
// deposed primary, and hears no bus, serves old values for as long as that primary
// answers (on Cluster: until cluster-node-timeout has passed).
//
// When a server of a Cluster cannot be reached, the store has the client ask the other
// servers for the owners of the keys, at most once a second. go-redis by itself asks
// after ClusterStateReloadInterval, a minute.
//
// INFO tells of a restart and a failover. The scripts that read and begin a journal ask
// for INFO, and so does the first write to a server. If the server refuses INFO inside
// scripts (Redis Software and Redis Cloud do), or leaves the answer out, neither is
// noticed, and Tail.Warning says so.
//
// If a primary acknowledges a value and loses it, by a failover or a restart, the value
// is lost here as well.
//
// # Time
//
// The clock of the server with the key judges deadlines and expiries. On Cluster and
// Ring each server has a separate clock. Keep the clocks within a fraction of
// [shared.Options.Timeout] of each other; otherwise writes are refused as late.
//
// # Clients that are refused
//
// Reads must see the writes before them. Hence clients that read from replicas, or from
// go-redis's client-side cache, are refused where the store can see the setting. A
// client of Sentinel does not show ReplicaOnly; with ReplicaOnly, every write fails.
// The store cannot see the work of a client's hooks. A Limiter of the client hears
// redis.Nil for each absent key; a Limiter that counts redis.Nil as a failure refuses
// calls to a healthy server.
//
// A Ring is refused unless its HeartbeatFn is [AlwaysUp] or does the same: by itself a
// Ring moves the keys of a dead shard to others, and finds old values when the shard is
// back. Ring.SetAddrs moves keys as well; once the number of shards is another, every
// call fails. The store does not notice a replaced address. Better than a Ring is
// package shardstore, with one redisstore for each server: there a changed list brings
// no old value back.
//
// # Rights
//
// Rights needed: get, mget, set, setrange, getrange, time, evalsha, eval; publish for a
// store that announces on a bus; xadd, xrange, xrevrange, del and info for a journal.
// Without rename, long images cost Redis several times as much, and without pexpireat a
// touch is refused.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

var (
	writeOneSource, writeManySource = source("writeone.lua"), source("writemany.lua")

	acquireScripts = &calls{one: newScript(source("acquireone.lua")), many: newScript(source("acquiremany.lua"))}

	tailScript = redis.NewScript(source("tail.lua"))
)

// Options configure a [Store]. The zero value is the production default. All
// servers of a fleet must have the same.
type Options struct {
	// Namespace keeps fleets apart that share a server: applications, staging and
	// production. It has 1 to 64 of A-Z a-z 0-9 _ -. Give the bus the same. Empty
	// is a namespace as well.
	Namespace string

	// Prefix begins every key, in place of what follows from Namespace:
	// "nearbus", or "nearbus-" and the namespace. It must not contain braces,
	// which name the partition.
	Prefix string

	// Partitions is the number of groups that keys are divided into; on
	// Cluster and Ring, the keys of a partition are on one server. Zero means 1
	// for a single server and 16 for Cluster and Ring, which is for up to 6 servers: with
	// more of them, set 128. Each journal costs a command for each node and
	// NodeOptions.JournalInterval. Another number makes other keys: what was stored under
	// the old ones is not found.
	Partitions int

	// JournalLength is about how many writes the journal keeps, all partitions
	// together; a node that was away for longer starts from an empty near tier.
	// Zero means 65,536, which takes about 5 MB for keys of 20 bytes; a negative
	// number keeps none.
	JournalLength int
}

func (o Options) withDefaults(client redis.UniversalClient) Options {
	if o.Prefix == "" {
		o.Prefix, _ = driver.Namespace(o.Namespace) // valid
	}
	if o.Partitions == 0 {
		o.Partitions = 16
		if _, single := client.(*redis.Client); single {
			o.Partitions = 1
		}
	}
	if o.JournalLength == 0 {
		o.JournalLength = 1 << 16
	}
	return o
}

func (o Options) validate() error {
	if _, err := driver.Namespace(o.Namespace); err != nil {
		return fmt.Errorf("redisstore: Options.Namespace: %w", err)
	}
	if o.Namespace != "" && o.Prefix != "" {
		return fmt.Errorf("redisstore: Options.Namespace %q and Options.Prefix %q exclude each other", o.Namespace, o.Prefix)
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return fmt.Errorf("redisstore: Options.Prefix %q contains braces", o.Prefix)
	}
	if o.Partitions < 0 || o.Partitions > 1<<14 {
		return fmt.Errorf("redisstore: Options.Partitions is %d, not in 0 to 16384", o.Partitions)
	}
	return nil
}

// Store is a [driver.Store] in Redis.
type Store struct {
	client redis.UniversalClient
	single *redis.Client // client, if it is of one server
	ring   *redis.Ring   // client, if it is one
	shards int           // of ring, at first
	opts   Options
	reads  *combiner[string, proven] // of single
	steps  *combiner[step, answer]   // likewise

	partitions []partition
	length     any // of the journal of one, as an argument of a command; 0 for none

	writesOutside atomic.Bool // of scripts: a server was found to be Redis before 7
	mayNotStage   atomic.Bool // a server refused what that takes

	reload   func(context.Context) // has a Cluster looked at anew; nil for other clients
	reloaded seldom
	learnt   seldom // which runs of the servers there are
}

// partition names the keys of one.
type partition struct {
	prefix                   string // of those of records
	metadata, journal, swept any    // as arguments of a command, so that calls need not make them

	busy   atomic.Bool           // the latest read of its journal found more than a few entries
	writes atomic.Pointer[calls] // as its server has them, nil if that is not known; see run.go
}

var (
	_ driver.Store     = (*Store)(nil)
	_ driver.Announcer = (*Store)(nil)
	_ driver.Journaler = (*Store)(nil)
	_ driver.Recaller  = (*Store)(nil)
	_ driver.Prover    = (*Store)(nil)
	_ driver.Sweeper   = (*Store)(nil)
	_ driver.Toucher   = (*Store)(nil)
	_ driver.Placed    = (*Store)(nil)
	_ driver.Named     = (*Store)(nil)
)

// New returns a Store over client, which is a *redis.Client, a *redis.ClusterClient or
// a *redis.Ring; one of another type is refused. New does not ask the server. A client
// whose calls outlast their context, which is what go-redis does by default, is
// refused, and so is one that reads from replicas or from a cache of its own.
func New(client redis.UniversalClient, opts Options) (*Store, error) {
	if isNil(client) {
		return nil, errors.New("redisstore: New: the client is nil")
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if err := refuse(client); err != nil {
		return nil, fmt.Errorf("redisstore: New: %w", err)
	}
	s := &Store{client: client, opts: opts.withDefaults(client)}
	s.single, _ = client.(*redis.Client)
	if cluster, ok := client.(*redis.ClusterClient); ok {
		s.reload = cluster.ReloadState
	}
	if ring, ok := client.(*redis.Ring); ok {
		s.ring, s.shards = ring, len(ring.Options().Addrs)
	}
	s.partitions = make([]partition, s.opts.Partitions)
	for i := range s.partitions {
		m, p := s.metadata(i), &s.partitions[i]
		p.prefix, p.metadata, p.journal, p.swept = m+":", m, journal(m), swept(m)
	}
	s.length = s.journalLength()
	if s.single != nil {
		s.reads, s.steps = s.readsOf(), s.stepsOf()
	}
	return s, nil
}

// Endpoint returns the client if it is a *redis.Client, which can publish in
// the step that writes; nil otherwise.
func (s *Store) Endpoint() any {
	if s.single == nil {
		return nil
	}
	return s.single
}

// IdentityKeys returns 1, and 128 for a Ring, whose client chooses the server of a key by
// the list that it was given.
func (s *Store) IdentityKeys() int {
	if s.ring != nil {
		return 128
	}
	return 1
}

// Namespace implements [driver.Named].
func (s *Store) Namespace() string {
	if name, _ := driver.Namespace(s.opts.Namespace); name == s.opts.Prefix {
		return name
	}
	return ""
}

// MaxImage returns 512 MB, the longest string of Redis.
func (s *Store) MaxImage() int { return 512 << 20 }

// Time returns the clock of the server; of one of them if there are several.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	now, err := s.client.Time(ctx).Result()
	s.notice(err)
	return now, failed(ctx, "time", err)
}

// Partition returns the partition of key.
func (s *Store) Partition(key string) int {
	if s.opts.Partitions == 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % uint32(s.opts.Partitions))
}

// metadata returns the key that the metadata of a partition is under.
func (s *Store) metadata(partition int) string {
	return s.opts.Prefix + ":{" + strconv.Itoa(partition) + "}"
}

// journal returns the key of the journal of the partition with this metadata.
// Keys of records have a colon where it has none.
func journal(metadata string) string { return metadata + "!journal" }

// swept returns the key of the highest clock of the watermarks that were swept, beside
// this metadata.
func swept(metadata string) string { return metadata + "!swept" }

// absent returns the key of what is never there, beside this metadata.
func absent(metadata string) string { return metadata + "!none" }

// recordKey returns the key that the record of key is under.
func (s *Store) recordKey(key string) string {
	return s.partitions[s.Partition(key)].prefix + key
}

// recordKeys appends the names of keys to names. Theirs are in one piece of memory.
func (s *Store) recordKeys(names, keys []string) []string {
	size := 0
	for _, key := range keys {
		size += len(s.partitions[s.Partition(key)].prefix) + len(key)
	}
	var all strings.Builder
	all.Grow(size)
	for _, key := range keys {
		at := all.Len()
		all.WriteString(s.partitions[s.Partition(key)].prefix)
		all.WriteString(key)
		names = append(names, all.String()[at:])
	}
	return names
}

// imageOf returns what a GET found.
func imageOf(ctx context.Context, text string, err error) ([]byte, error) {
	switch {
	case err == nil:
		return bytesOf(text), nil
	case errors.Is(err, redis.Nil):
		return nil, nil
	case code(err) == "WRONGTYPE":
		return []byte{}, nil
	default:
		return nil, failed(ctx, "read", err)
	}
}

// bytesOf returns the bytes of what was read for us, and nobody else has; see
// StringCmd.Bytes. It is not nil: there is something, if no record.
func bytesOf(text string) []byte {
	if text == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(text), len(text))
}
