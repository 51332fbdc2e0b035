// Package memcachestore is a shared tier in Memcached, on the client gomemcache.
//
//	client := memcache.New("localhost:11211")
//	client.Timeout = 250 * time.Millisecond // of one exchange with the server
//	client.MaxIdleConns = 50                // the pool
//	store, err := memcachestore.New(client, memcachestore.Options{})
//	tier, err := shared.New(store, shared.Options{})
//
// Every write is a gets, followed by an add or a cas of the item shown by the gets.
// When another writer came in between, the pair is sent again. The repetition makes the
// write one atomic step, and is no retry after a failure (for the only kind of retry,
// see Connections). A writer overtaken 1000 times in a row gives up with an error that
// says so, and has stored nothing. A write whose nonce is in place already is answered
// without another store.
//
// Several writes or leases of one call run 16 at a time. Several reads are one request
// to each server. The store keeps no connection and no goroutine of its own.
//
// # What is weaker than on Redis
//
// Revisions. The revision of a record is the server's cas number, with epoch 0. Readers
// learn the revision; writers do not, because the text protocol does not tell it, and
// [driver.Receipt] leaves it zero. A restarted server counts from the beginning. Hence
// revisions compare by equality only. Records of [driver.KindWatermark] are the
// exception: their number is stored with the record, and the receipt has it. The number
// is the largest of three: the previous number + 1, [driver.Write] Floor, and the clock
// of the application in microseconds. A number a day or more ahead of the application's
// clock is foreign and counts as 0.
//
// Restarts. A restarted server has forgotten everything, leases included, and gives cas
// numbers of its former life again. Therefore a Fill does not use the cas number that
// the lease once had. A Fill reads the lease, compares the nonce, and replaces the item
// just read. A restart within this exchange remains, if another record then got the
// very same number.
//
// Deadlines. The server judges no deadline. The store compares [driver.Write] NotAfter
// with the clock of the application, right before each request is sent. An abandoned
// request may still be on its way then. If its key was written since, the server
// refuses the request: add needs an absent key, and cas needs the record that was read.
// The abandoned request lands in two cases:
//
//   - Nothing was written since. A node that read the key after the write was given
//     up, and before it landed, keeps the earlier value until the near TTL.
//   - The later write is gone by then: deleted longer than [shared.Options]
//     TombstoneTTL ago, expired, evicted or flushed.
//
// Requests die with their connection when the server restarts.
//
// Time. The text protocol does not tell the server's clock. Time and all expiries are
// those of the application server: keep the clocks of a fleet within a fraction of the
// lease time of each other. A record is gone when its expiry has passed for the reader.
// The server counts in whole seconds, and keeps the record for up to two seconds
// longer. An expiry past January 2038 is not set on the server.
//
// Eviction. A full server drops any record, watermarks included. Give the server the
// memory for all records.
//
// # Limits
//
// The name of an item is "prefix:key". If Memcached cannot hold the name (longer than
// 250 bytes, or not printable ASCII without spaces), the name is "prefix!" and the
// SHA-256 of the key in hexadecimal. A prefix has no colon. Hence no two keys of any
// two prefixes share a name.
//
// A record with an item larger than Options.MaxItem is refused with
// [driver.ErrTooLarge] before anything is sent. A record too large for the server is
// refused afterwards. If the server runs with -C, without cas, every call fails once
// there is something to read.
//
// # Connections and time limits
//
// The store uses at most MaxIdleConns connections at a time, as read by New. The next
// call waits in line, or until its context ends. Hence the store never opens more
// connections to a server than the client keeps. The default of gomemcache is 2, which
// is slow.
//
// A connection kept by the client may have died meanwhile: by the server's idle
// timeout, by a proxy, by a restart. Only use shows a dead connection, and no caller
// pays for it: the store drops all kept connections and makes the request again at
// once, up to 3 times. To drop them, the store calls Close of the client, after which a
// client goes on. Requests of other users of the client are not disturbed.
//
//   - A read may be made again in any case.
//   - A write without an answer begins again at the gets. If the write was stored, its
//     nonce is in place. If the write is still on its way, the rules for abandoned
//     requests above hold.
//   - A request that ran into client.Timeout is not made again, and neither is a
//     request whose new connection died at once.
//
// gomemcache cannot be interrupted: the store looks at the context before each request.
// A request under way takes up to client.Timeout for connecting, and as long for the
// answer, or for each item of the answer to a read. Set client.Timeout to a fraction of
// [shared.Options] Timeout, since a write is at least two requests. When the context
// has ended, an error satisfies errors.Is with the context's error.
//
// # Several servers
//
// The server list of gomemcache picks the server by a hash of the name modulo the
// number of servers, which is not consistent hashing. With one server more or less,
// almost every key moves, and old values are found when a key moves back. All processes
// must have the same servers in the same order; change the list together with
// Options.Prefix. A dead server is an error for its keys; the keys do not move.
package memcachestore
