// Package simredis is a Redis server in memory, for simulations of whole fleets in a
// bubble of testing/synctest: it speaks over any [net.Conn], waits for nothing but its
// connections and the bubble's clock, and runs the very scripts that it is sent.
//
//	server := simredis.New(simredis.Options{})
//	defer server.Close()
//	go server.Serve(conn) // one client; returns when its connection has ended
//
// It knows the commands that the drivers and their client use, and answers them as
// Redis 7.0.15 does, byte for byte; a test holds it to the real server. What it does
// not know is answered as Redis answers, and counted: see [Server.Unknown].
//
// Faults are methods: a restart from a snapshot ([Server.Restart]), a clock that is
// wrong ([Server.SetClock]), replicas that lag, are cut off and take over
// ([Server.SetReplicaOf], [Server.CutReplication], [Server.Promote]), a full memory
// ([Server.SetMaxMemory]), refused commands ([Server.Refuse], [Server.Deny]), a server
// that stands still ([Server.Freeze]), lost keys and clients that are cut off.
//
// All methods may be called from many goroutines. None of them waits, so that none
// keeps a bubble from being idle.
//
// # What differs from Redis by choice
//
//   - Memory is counted by keys and values, with a fixed cost for each, and not as an
//     allocator would. So the moment when a server is full is another one.
//   - Expired keys are removed when they are asked for, and all of them now and then.
//     Redis samples.
//   - The fields of INFO are those that clients and scripts look for.
//   - A replica learns what was done with a delay that is always the same. There is no
//     backlog: a link that was cut goes on where it stopped, up to a bound, and with
//     the whole data set past that.
//   - There is one database, no cluster, no MULTI, and no value but strings and
//     streams.
package simredis
