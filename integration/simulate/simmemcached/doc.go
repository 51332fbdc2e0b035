// Package simmemcached is a Memcached server in memory, for simulations of whole fleets
// in a bubble of testing/synctest: it speaks over any [net.Conn] and waits for nothing
// but its connections and the bubble's clock.
//
//	server := simmemcached.New(simmemcached.Options{})
//	defer server.Close()
//	go server.Serve(conn) // one client; returns when its connection has ended
//
// It knows the commands that the driver and its client use, and answers them as
// memcached 1.6.18 does, byte for byte. What it does not know is answered with ERROR, and
// counted: see [Server.Unknown].
//
// A test holds the answers to those of memcached. The environment variable
// NEARBUS_SIMMEMCACHED_CALLS says how many lines it compares: 20,000 without it, in six
// seconds, and a million in two minutes.
//
// All methods may be called from many goroutines. None of them waits.
//
// # What differs from Memcached by choice
//
//   - Memory is counted by keys and values, with 56 bytes for each item, and not in
//     slabs. What was used least lately is evicted, without the segments of Memcached.
//   - Time is exact to the second of the clock, where Memcached counts seconds since it
//     was started.
package simmemcached
