// Package simulate runs fleets of this library in simulated time, and holds what they
// answer against the guarantees, while network, servers, processes and source fail.
//
// # What is real
//
// Everything of this library: nearcache, shared, redisstore, memcachestore, bus,
// redisbus, and the clients under them. What they stand on is simulated: time is that of a bubble
// of testing/synctest, connections are in memory, and servers are those of the packages
// simredis and simmemcached.
//
// # The contract
//
// A [Plan] holds all choices of a run: processes, options, operations and faults.
// [NewPlan] draws one from a seed, and [Run] carries one out, in a bubble that its caller
// opens. What is not in a plan is the order in which the scheduler runs goroutines that
// are ready at the same moment, and what the library draws by chance. So a seed repeats
// what it did most of the time, and not always.
//
// A [Result] has every [Violation]: an answer that a guarantee rules out, when all that a
// fault excuses is taken into account. There is none unless the library, or a simulated
// server, or the rules here are wrong. The rules about histories are those of the
// checker, in package history.
//
// [Shrink] makes a plan that breaks a promise as small as it can, and [Result.Timeline]
// prints what happened. [Tally] adds up what many runs saw.
//
// A run leaves no goroutine behind. Several bubbles may run at once. Nothing here opens a
// socket, looks up a name or waits for real time. Results are read after their run, by
// one goroutine.
//
// The page docs/simulator.md says how to run it, and how to add a fault.
package simulate
