// Package shared is the tier that all servers of a fleet read and write: Redis,
// Memcached or, for tests and single programs, memory.
//
// Callers hold a [Tier]. A Tier stands over a [driver.Store], the small contract of a
// driver, and does everything that is the same for all drivers: checks of keys and
// sizes, records around values, an estimate of the server's clock, a bound on the time
// of every call, and names for errors.
//
//	store, err := redisstore.New(client, redisstore.Options{})
//	tier, err := shared.New(store, shared.Options{})
//	err = tier.Set(ctx, "user:42", data, 0) // kept for 300 s
//	got, err := tier.Get(ctx, "user:42")    // shared.ErrNotFound on a miss
//	err = tier.Delete(ctx, "user:42")
//
// A single line chooses the store behind a Tier; no other line changes.
//
// # Keys
//
// The keys of a Tier are the caller's own. Caches of package nearcache may stand over
// the same Tier, or over another Tier of the same namespace. No key of the caller names
// a record of a cache, and no cache names a record of the caller. A key with ":" or
// "!", such as "user:42", is stored with a colon before it, since key 42 of a cache
// user has the name "user:42". [Tier.Records] is for work on the records of caches.
//
// # Records
//
// Every value is stored as a [driver.Record]: a header of [driver.HeaderSize] bytes
// with revision, expiries, codec and kind, an extension for schema, tags and other
// fields, and the value. Without fields there is no extension. Foreign, short or
// damaged bytes are never returned as a value: they read as a miss and are counted. A
// record of a newer format is left alone, so a fleet can be upgraded server by server.
//
// # Revisions
//
// The store, never the application server, gives each write a [driver.Revision]. The
// revisions of a key rise strictly. Revisions of different keys say nothing about each
// other.
//
// # Leases
//
// Of all callers who miss a key, [Tier.Acquire] gives the lease to a single caller, who
// loads the value and stores it with [Tier.Fill]. A Fill is accepted only while the
// lease record is still in place. A Set or Delete in between replaces the lease record,
// and the value loaded earlier is refused. Leases thus keep an old value from being
// stored after a newer value.
//
// # Failures
//
// A Tier tries a call again when the connection failed or the server was not ready: up
// to Options.Attempts times, after pauses that double, and never past Options.Timeout.
// A repeated write has the id and the deadline of the first attempt. With
// Options.BreakAfter, a breaker keeps calls from a store that fails every call; such
// calls return [ErrOpen] at once.
//
// # Limits
//
// A key has 1 to [MaxKeySize] bytes of any kind, one less with ":" or "!" in the key.
// [Options] and the store limit the size of a value. Memcached holds 1 MiB in an item,
// record header and key included, unless the server is set up otherwise.
package shared
