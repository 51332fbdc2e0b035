// Package shared is the tier that all servers of a fleet read and write: Redis,
// Memcached, or, for tests and single programs, memory.
//
// [Tier] is the type that callers hold. It stands over a [Store], the small
// contract that a driver fills, and does once what is the same for every
// driver: it checks keys and sizes, wraps values into records, estimates the
// server's clock, bounds every call in time and names errors.
//
//	store, err := redisstore.New(client, redisstore.Options{})
//	tier, err := shared.New(store, shared.Options{})
//	err = tier.Set(ctx, "user:42", data, 0) // kept for 300 s
//	got, err := tier.Get(ctx, "user:42")    // shared.ErrNotFound on a miss
//	err = tier.Delete(ctx, "user:42")
//
// Which store stands behind a Tier is decided in one line; no other line
// changes.
//
// # Keys
//
// The keys of a Tier are the caller's own. Caches of package nearcache may stand over the
// same Tier, or another one of the same namespace: no key is a record of theirs, and they
// have none of the caller's. A key with ":" or "!" in it, such as "user:42", is stored with
// a colon before it, since the key 42 of a cache user is called so. [Tier.Records] is for
// work on the records of caches.
//
// # Records
//
// Every value is stored as a [Record]: a header of [HeaderSize] bytes with
// revision, expiries, codec and kind, an extension with schema, tags and other fields
// if there are any, then the value. Bytes that are not a record, are cut short or fail
// their checksum are never returned as a value: they read as a miss and are
// counted. A record of a newer format is left alone, so that a fleet can be
// upgraded server by server.
//
// # Revisions
//
// The store, never the application server, gives each write a [Revision]. The
// revisions of one key rise strictly. Revisions of different keys say nothing
// about each other.
//
// # Leases
//
// Of all callers that miss one key, [Tier.Acquire] gives one the lease; it
// loads the value and stores it with [Tier.Fill]. A Fill is accepted only
// while the lease record is still in its place: a Set or Delete that came in
// between replaced it, and the value loaded before that write is refused. That
// is what keeps an old value from being stored after a newer one.
//
// # Failures
//
// A Tier tries a call again when its connection failed or its server was not
// ready, up to Options.Attempts times, after pauses that double, and never past
// Options.Timeout. A repeated write has the id and the deadline of the first
// attempt. With Options.BreakAfter, a breaker keeps calls from a store that
// fails all of them; they return [ErrOpen] at once.
//
// # Limits
//
// A key has 1 to [MaxKeySize] bytes of any kind, one less if it has ":" or "!" in it. The size of a value is limited
// by [Options] and by the store. Memcached holds 1 MiB in an item, record
// header and key included, unless its server is set up otherwise.
package shared
