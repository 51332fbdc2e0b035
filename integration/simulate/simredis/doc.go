// Package simredis is a Redis server in memory, for simulations of whole fleets in a
// bubble of testing/synctest: it speaks over any [net.Conn], waits for nothing but its
// connections and the bubble's clock, and runs the very scripts that it is sent.
//
//	server := simredis.New(simredis.Options{})
//	defer server.Close()
//	go server.Serve(conn) // one client; returns when its connection has ended
//
// It knows the commands that the drivers and their client use, and answers them as
// Redis 7.0.15 does, byte for byte. What it does not know is answered as Redis answers,
// and counted: see [Server.Unknown].
//
// A client of go-redis needs the address of a server in digits: it looks up a name, which
// cannot be done in a bubble.
//
// A test holds the answers, and all that is stored, to those of redis-server. The
// environment variable NEARBUS_SIMREDIS_CALLS says how many answers it compares: 20,000
// without it, in three seconds, and a million in two minutes.
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
//     Redis samples. So if a clock goes back, other keys come back.
//   - The fields of INFO are those that clients and scripts look for.
//   - A replica learns what was done with a delay that is always the same. There is no
//     backlog: a link that was cut goes on where it stopped, up to a bound, and with
//     the whole data set past that.
//   - There is one database, no cluster, no MULTI, no consumer groups, no patterns of
//     channels, and no value but strings and streams. XADD trims by MAXLEN ~ only.
//   - What the interpreter of scripts says of an error of the language reads otherwise.
//     A number that a script joins to text by .. has all of its digits, where Redis has
//     14. A number that begins with 0 is octal in arithmetic, if it is text.
//   - Scripts have redis.call, pcall, error_reply, status_reply, sha1hex and setresp, of
//     struct the formats <, >, I, i and c, and no cjson, cmsgpack and bit.
//   - A server that denies commands has one user, who may do anything else.
package simredis
