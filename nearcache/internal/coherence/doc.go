// Package coherence decides which records of the shared tier are valid, and what may be near. It
// knows keys, revisions, clocks and tags, and no values: package nearcache encodes and decodes
// them, and holds what users call.
//
//   - A [Node] hears what other nodes write: on the bus, and in the journal of the shared tier.
//     It takes each piece of news to the keyspace concerned, and it says how far it can vouch for
//     what is near.
//   - A [Keyspace] is one cache. It writes behind a fence, tells the other nodes, retries what
//     could not be delivered, and puts values near in [Keyspace.Arrive], the one place where a
//     value is compared with all news.
//   - The [Records] of a keyspace read the shared tier and judge what is found there, by the
//     clock of the cache, watermarks of tags, and epochs.
//
// The rooms below it hold plain data: numbers heard of (generation), invalidations not delivered
// (pending), the follower of the journals (journal), and values in memory (near). All methods
// are safe for use by many goroutines, unless a comment says otherwise. No lock is held while
// the shared tier, the bus or a caller's code is called.
package coherence
