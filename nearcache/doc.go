// Package nearcache lets every server of a fleet answer hot reads from its own
// memory, and keeps those memories in agreement.
//
// A [Node], one in each process, holds the near tier. A [Cache] is a named,
// typed view over it. Behind the near tier stands the shared tier
// ([shared.Tier]: Redis, Memcached or memory), and behind that the source: a
// loader, which is an option of the cache or an argument of [Cache.Fetch]. What
// one node writes is announced on the bus ([bus.Bus]: Redis pub/sub, NATS or
// memory), and every other node drops its copy.
//
// # Wiring
//
// In each process, with an error to check after every line:
//
//	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: "localhost:6379"}))
//	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "shop"})
//	users, err := nearcache.New(node, "users", nearcache.Options[User]{Loader: nearcache.ValueLoader(loadUser)})
//
//	u, err := users.Get(ctx, "42")    // near, else shared, else the source
//	err = users.Invalidate(ctx, "42") // after the source has changed
//
// Other stores and transports: [Open]. Parts made by hand: [NewNode].
//
// At the end: [Node.Close] with a context, then Close of the client. Whoever gave a tier and a bus
// to NewNode closes both in between.
//
// # What it promises
//
// Read your writes: after [Cache.Set], [Cache.Delete], [Cache.Invalidate],
// [Cache.InvalidateTags] or [Cache.Clear] returned nil, the same node never again
// returns the older value, from any tier or from a load that began before.
//
// Monotonic reads: on one node, a read that starts after another returned never
// returns an older revision of that key.
//
// Prompt: with a healthy bus, other nodes have dropped the old value one bus
// hop after the write.
//
// Bounded: with a shared tier that keeps a journal ([driver.Journaler]; Redis
// does), no node answers with a value older than an acknowledged write by more
// than [NodeOptions.JournalInterval] and the time of one read of the journal,
// whatever the bus loses. A node that cannot read the journal answers with
// nothing that it has not confirmed for [NodeOptions.MaxStaleness], neither from its
// memory nor from the shared tier, and asks the source. [Node.Health] tells.
//
// No stale fill: a load that began before a write leaves its value neither in
// the shared tier nor on the writer's node, and on other nodes not past the
// moment they hear of the write.
//
// One load: of all callers in the fleet who miss a key, one loads it; the
// others wait for it, for one lease time at most.
//
// Degrade: with the shared tier down, Fetch goes to the source, once for each
// key and node at a time. Without a journal, whatever is lost on the bus while
// it cannot be heard is answered by a flush when the loss is noticed: a
// heartbeat that does not come back for [bus.Options.HeartbeatTimeout] counts as
// a loss.
//
// # What it does not promise
//
// A write that the shared tier acknowledged and then lost itself is lost; nodes
// notice, and do not serve what it had replaced. Without a journal, a node that
// dies between a write and its message leaves the key stale on the others, until
// the near TTL. Two nodes that change the source and the cache at the same time
// may do so in different orders: Invalidate has no such race, Set has.
//
// # Modes
//
// With a shared tier and a bus, write through with [Cache.Set], or change the
// source and call [Cache.Invalidate] (cache-aside); loads are leased and fenced
// either way. With a nil bus, nothing is announced: an answer is as old as
// [Options.NearTTL] at most, and where the shared tier keeps a journal, as
// JournalInterval. With a nil shared tier, each node loads for itself, Set keeps
// its value on this node and makes the others drop theirs.
//
// # Tags
//
// A value may have tags: from [Options.Tags], or given to [Cache.SetEntry] or
// returned by a [Loader] in [Loaded]. [Cache.InvalidateTags]
// makes every value with a tag stale, wherever it is and however many there are.
// What is promised for [Cache.Invalidate] is promised for it as well, also for
// loads under way that return the tag later.
//
// # Values are shared
//
// The near tier hands the same decoded value to every caller. A value that
// holds pointers, slices or maps must not be changed by those who got it.
package nearcache
