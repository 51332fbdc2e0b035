// Package shardstore is a shared tier over several: Redis or Memcached servers
// that know nothing of each other, or any [driver.Store]. It is for caches that
// are too large, or asked too often, for one server.
//
//	store, err := shardstore.New([]shardstore.Shard{
//		{Name: "a", Store: redisA}, // of redisstore.New or memcachestore.New
//		{Name: "b", Store: redisB},
//		{Name: "c", Store: redisC},
//	}, shardstore.Options{})
//	err = store.Open(ctx) // a new map takes Options.Handover
//	tier, err := shared.New(store, shared.Options{})
//
// Keys are placed by rendezvous hashing: a shard that is added takes its share
// of keys, and none moves between the others. The store keeps no connection and
// no goroutine of its own, and closes nothing.
//
// # The map is configuration
//
// A shard that is down is an error for its keys, and for no others; they never
// move to another shard because of it, since both would serve them, and old
// values would come back with the shard. Of one read, the keys of a shard that
// failed have an error of their own ([driver.PartialError]).
//
// Keys move when the configuration says so. The map (the names of the shards,
// their weights and the number of their partitions, in any order) has a number,
// Options.Epoch, and every shard stores the maps that there were, in a record
// of its own, the registry. A store looks there before it does anything:
//
//   - the same map: it goes on;
//   - one with a higher number: it follows that map, if it knows all shards of
//     it; otherwise every call fails with [ErrMap];
//   - another map of the same number: ErrMap;
//   - one with a lower number: it begins its own map, which takes effect
//     everywhere one Options.Handover later. For that, every shard must be
//     there;
//   - a shard that says that it is another one: ErrMap.
//
// # Adding and removing a shard
//
// To add shard d without a failure, deploy twice. First add it with Idle set:
// the map is as it was, and every process knows d from then on. Then take Idle
// away and raise Options.Epoch: the first process of that deployment begins the
// new map, and those that still have the old configuration follow. During the
// handover, about a second, calls wait and then fail: nodes load from the source
// what is not near, and writes return nearcache.ErrOutcomeUnknown. Processes
// that do not know d fail until they are replaced.
//
// To remove a shard, set Idle and raise the number; its keys move to the others.
// Later, when whatever was stored before has expired, take it away, raise the
// number and set Options.Expired to the last number in which it had keys.
//
// # A shard that died
//
// A shard that is gone for good, for every process, is taken away by Options.Lost and a
// higher Epoch. The map without it begins with every key absent, or, with Options.Expired,
// with every key absent that was on it. So what processes owed to it (nearcache.Node.Drain)
// is no matter any more: nobody finds what it should have ended. The processes of the old
// map notice within a handover of their next call, also those that use no other shard than
// the lost one. They deliver under the new map what they still owe. Each drains before it
// ends, as always.
//
// Do not add a shard that older processes do not know in the same step. A process that does not know all shards of the
// new map cannot deliver anything under it, and what it owes ends with it. To put another
// shard in the place of the lost one, deploy it with Idle set first, with the old number.
// Should there have been no time for that: once the old processes are gone, clear each cache
// of which one logged that it was closed while invalidations could not be delivered, by
// Cache.Clear or with "clear users" on the bus.
//
// # Why no old value comes back
//
// On its home, a key is called "key@7" if the home has been its home without a
// break since epoch 7. The name follows from the stored maps, so all processes
// use the same. What moves away and back has another name then: whatever was
// left under the old one (values, tombstones, leases, and writes that were given
// up and land late) is never found again. Nothing has to be deleted; it expires.
// Names of keys that do not move stay.
//
// Two maps are never used at a time: a process uses a shard for Options.Handover
// after it asked the shard for the map, asks again after half of that time, and
// reports a write as done only if the shard still had the map. A new map takes
// effect a handover after every shard was told of it. No clock of another machine
// plays a part; a clock that jumps makes a process ask at once.
//
// # What depends on a single server elsewhere
//
// Revisions are those of the shards. Those of one key are of one shard at a
// time; when its home changes, nodes start from an empty near tier, because
// every journal is reset.
//
// Clocks: deadlines and expiries are judged by the clock of each shard, and
// translated, so those may differ by any amount. Store.Time is the clock of this
// process.
//
// The clock of a cache, and those of tags, are on the home of their own key.
// While that shard is down, nodes without a fresh look at it load the whole
// cache from the source. When the home changes, the new one goes on from what
// the earlier homes have, which therefore stay configured, idle at least, until
// Options.Expired says that nothing depends on them; otherwise a new map begins
// with every key absent.
//
// Journals: the partitions are those of all shards, one after the other, and a
// shard that is down leaves those of the others. One shard without a journal,
// Memcached for instance, makes the whole have none.
//
// Announcements: a write and its message are two steps, because shards do not
// reach all subscribers of a bus.
//
// A breaker (shared.Options.BreakAfter) counts the shards as one: set it, if at
// all, above the number of calls in a row that one shard that is down can fail.
//
// Watch out: the number of partitions of a store without a journal is not seen.
// A server that takes the place of another one without its data is noticed, and
// its registry restored, if it comes at its address; give it a new name if it has
// another one, or processes may use both at a time. On Memcached, which may evict
// a registry, it is restored from the other shards.
package shardstore
