// Package memcachestore is a shared tier in Memcached, on the client
// gomemcache.
//
//	client := memcache.New("localhost:11211")
//	client.Timeout = 250 * time.Millisecond // of one exchange with the server
//	client.MaxIdleConns = 50                // the pool
//	store, err := memcachestore.New(client, memcachestore.Options{})
//	tier, err := shared.New(store, shared.Options{})
//
// Every write is a gets, and then an add or a cas of what the gets showed. When
// another writer came in between, the pair is sent again: that is what makes
// the write one atomic step, not a retry after a failure (there is one kind of those,
// see below). A writer that was
// overtaken 1000 times in a row gives up with an error that says so, and has
// stored nothing. A write whose nonce is in its place already is answered
// without being stored again. Several writes or leases of one call run 16 at a time;
// several reads are one request to each server. The store keeps no connection
// and no goroutine of its own.
//
// # What is weaker than on Redis
//
// Revisions. The revision of a record is the server's cas number, with epoch 0,
// and readers learn it; writers do not, because the text protocol does not tell
// it, so [driver.Receipt] leaves it zero. A restarted server counts from the
// beginning, so these numbers compare by equality only. Records of
// [driver.KindWatermark] are the exception: their number is part of what is
// stored. It is the largest of the previous one + 1, [driver.Write] Floor and
// the clock of the application in microseconds, and the receipt tells it. A
// number that is a day or more ahead of that clock is not ours and counts as 0.
//
// Restarts. A server that restarts forgets everything, leases too, and gives
// the cas numbers of its former life again. A Fill is therefore no cas of the
// number that the lease once had: it reads the lease, compares its nonce and
// replaces what it read. What remains is a restart between that read and the
// cas, within one exchange, after which another record got the very same
// number.
//
// Deadlines. The server judges none. [driver.Write] NotAfter is compared with
// the clock of the application, right before each request is sent. An abandoned
// request that is still on its way then is refused by the server when anything
// was written to its key since, because add needs the key to be absent and cas
// needs the record that was read. It lands if nothing was: a node that read the
// key after the write was given up, and before it landed, keeps what it read
// until its near TTL. It also lands if what was written is gone by then: an add
// whose key was deleted longer than [shared.Options] TombstoneTTL ago, expired,
// was evicted or flushed. Requests die with their connection when the server
// restarts.
//
// Time. The text protocol does not tell the server's clock. Time is that of the
// application server, and so are all expiries: keep the clocks of a fleet
// within a fraction of the lease time of each other. A record is gone when its
// expiry has passed for the one who asks. The server, which counts in whole
// seconds, keeps it for up to two seconds longer. What is to be kept past
// January 2038 has no expiry on the server.
//
// Eviction. A server that is full drops any record, watermarks included. Give it
// the memory that the records need.
//
// # Limits
//
// The name of an item is "prefix:key". When Memcached cannot hold it (it is
// longer than 250 bytes, or not printable ASCII without spaces), it is
// "prefix!" and the SHA-256 of the key in hexadecimal. A prefix has no colon in
// it, so no two keys of any two prefixes share a name.
//
// A record whose item is larger than Options.MaxItem is refused with
// [driver.ErrTooLarge] before anything is sent, one that the server finds too
// large afterwards. Where the server runs with -C, without cas, every call
// fails once there is something to be read.
//
// # Connections and time limits
//
// The store uses at most MaxIdleConns connections at a time, as read by New; the
// next call waits in line, or until its context ends. So it never opens more
// connections to a server than the client keeps. The default of gomemcache is
// 2, which is slow.
//
// A connection that the client kept may have died meanwhile: by the server's idle
// timeout, by a proxy, by a restart. Such a one is found out by its use, and costs
// nobody a call: the store drops all that are kept, by Close of the client, after which
// a client goes on, and makes the request again at once, up to 3 times. Requests that
// other users of the client have under way are not disturbed. A read may be made
// again in any case. A write that got no answer begins again at its gets: if it was
// stored, its nonce is found in its place; if it is still on its way, what is said
// of abandoned requests above holds. A request that ran into client.Timeout is not made
// again, nor one whose connection died right after it was made.
//
// gomemcache cannot be interrupted: the context is looked at before each
// request, and a request under way takes up to client.Timeout for connecting
// and as long for the answer, or for each item of the answer to a read. Set
// client.Timeout to a fraction of [shared.Options] Timeout, since a write is at
// least two requests. When the context has ended, an error satisfies errors.Is
// with the context's error.
//
// # Several servers
//
// The server list of gomemcache picks the server by a hash of the name modulo
// the number of servers, which is not consistent hashing: with one server more
// or less, almost every key moves, and old values are found when it moves back.
// All processes must have the same servers in the same order; change the list
// together with Options.Prefix. A server that is down is an error for its keys;
// they do not move.
package memcachestore
