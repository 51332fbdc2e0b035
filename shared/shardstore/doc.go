// Package shardstore is a shared tier over several independent stores: Redis or
// Memcached servers, or any [driver.Store]. The package is for caches too large, or too
// busy, for one server.
//
//	store, err := shardstore.New([]shardstore.Shard{
//		{Name: "a", Store: redisA}, // of redisstore.New or memcachestore.New
//		{Name: "b", Store: redisB},
//		{Name: "c", Store: redisC},
//	}, shardstore.Options{})
//	err = store.Open(ctx) // a new map takes Options.Handover
//	tier, err := shared.New(store, shared.Options{})
//
// Keys are placed by rendezvous hashing: an added shard takes its share of keys, and no
// key moves between the others. The store keeps no connection and no goroutine of its
// own, and closes nothing.
//
// # The map is configuration
//
// A dead shard is an error for its keys, and for no others. The keys never move to
// another shard because of a failure. Otherwise both shards would serve the keys, and
// old values would come back with the dead shard. In one read, the keys of a failed
// shard have an error of their own ([driver.PartialError]).
//
// Keys move when the configuration says so. The map has the names, the weights and the
// partition counts of all shards, in any order. The map has a number, Options.Epoch.
// Every shard stores all maps so far in a special record, the registry. Before anything
// else, a store looks into the registry, and finds one of these:
//
//   - The same map: the store goes on.
//   - A map with a higher number: the store follows that map, if it knows all shards
//     of the map; otherwise every call fails with [ErrMap].
//   - Another map of the same number: ErrMap.
//   - A map with a lower number: the store begins its own map, which takes effect
//     everywhere one Options.Handover later. For that, every shard must be there.
//   - A shard with another name than configured: ErrMap.
//
// # Adding and removing a shard
//
// To add shard d without a failure, deploy twice:
//
//   - First add d with Idle set. The map stays the same, and every process knows d
//     from then on.
//   - Then take Idle away and raise Options.Epoch. The first process of the second
//     deployment begins the new map, and processes with the old configuration follow.
//
// During the handover, about a second, calls wait and then fail: nodes load missing
// values from the source, and writes return nearcache.ErrOutcomeUnknown. Processes
// without knowledge of d fail until they are replaced.
//
// To remove a shard, set Idle and raise the number; the keys move to the others. Later,
// when every value stored before has expired, take the shard away, raise the number,
// and set Options.Expired to the last number in which the shard had keys.
//
// # A shard that died
//
// If a shard is gone for good, for every process, take it away by Options.Lost and a
// higher Epoch. The map without the shard begins with every key absent or, with
// Options.Expired, with every key of the lost shard absent. Hence invalidations pending
// for the lost shard (nearcache.Node.Drain) do not matter any more: no reader finds the
// values. The processes of the old map notice the new map within a handover of their
// next call, also processes that use no other shard than the lost one. The old
// processes deliver the pending invalidations under the new map. Each process drains
// before its end, as always.
//
// Do not add a shard unknown to older processes in the same step. A process without
// knowledge of all shards of the new map can deliver nothing there, and the pending
// invalidations end with the process. To put another shard in the place of the lost
// one, first deploy the new shard with Idle set, with the old number. If there was no
// time for the first step, wait until the old processes are gone. Then clear each cache
// of a process that logged a close with undelivered invalidations, by Cache.Clear or
// with "clear users" on the bus.
//
// # Why no old value comes back
//
// On its home, a key is called "key@7" if the home has been its home without a break
// since epoch 7. The name follows from the stored maps, and is the same in all
// processes. A key that moves away and back has another name then. Records left under
// the old name (values, tombstones, leases, and abandoned writes that land late) are
// never found again. Nothing has to be deleted; the records expire. Names of keys that
// do not move stay.
//
// Two maps are never used at a time. A process uses a shard for Options.Handover after
// it asked the shard for the map, and asks again after half of that time. The process
// reports a write as done only if the shard still had the map. A new map takes effect a
// handover after every shard was told. No clock of another machine plays a part; after
// a jump of its own clock, a process asks at once.
//
// # What depends on a single server elsewhere
//
// Revisions are those of the shards. The revisions of a key come from one shard at a
// time. When the home of the key changes, nodes start from an empty near tier, because
// every journal is reset.
//
// Clocks: each shard judges deadlines and expiries by its own clock, and the store
// translates them. Hence the clocks may differ by any amount. Store.Time is the clock
// of this process.
//
// The clock of a cache, and the clocks of its tags, are on the homes of their own keys.
// While that shard is down, nodes without a fresh look at the clock load the whole
// cache from the source. When the home changes, the new home goes on from the clocks of
// the earlier homes. The earlier homes therefore stay configured, idle at least, until
// Options.Expired says that nothing depends on them; otherwise a new map begins with
// every key absent.
//
// Journals: the partitions are those of all shards, one after the other. A dead shard
// leaves the partitions of the others. If one shard has no journal, Memcached for
// instance, the whole store has none.
//
// Announcements: a write and its message are two steps, because shards do not reach all
// subscribers of a bus.
//
// A breaker (shared.Options.BreakAfter) counts all shards together. Set the breaker, if
// at all, above the number of calls in a row that one dead shard can fail.
//
// Watch out: the store does not see the number of partitions of a store without a
// journal. A server may take the place of another without its data. At the same
// address, the store notices the new server, and restores the registry. At another
// address, give the new server a new name, or processes may use both at a time. On
// Memcached, which may evict a registry, the other shards restore it.
package shardstore
