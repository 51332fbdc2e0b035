// Command checker shows whether servers agree while everything around them
// breaks. It starts real servers and several processes that cache the same
// data, lets them read and write while a fault comes and goes, and then goes
// through all that they saw.
//
//	go run ./checker                              # every scenario, short
//	go run ./checker -fault bus-half-open -long   # one, as long as the bounds ask for
//	go run ./checker -against naive,rueidis       # the same for what people use today
//	go run ./checker -features                    # with short lifetimes, fail-safe and the rest on
//
// The truth is a version for each key, in memory that all processes share. A
// writer raises it and then tells its cache; a loader reads it. Each process
// writes down when each call began and ended, on the one monotonic clock of the
// machine, and what it returned. A read is as old as the earliest acknowledged
// write that it missed: see [check].
//
// A scenario declares its bound before it runs, and fails if its fault did not
// happen.
package main
