// Package history says what the promises of the library mean for what processes saw:
// calls with their beginning and end on one clock, and the versions that they wrote or
// were given. The checker collects histories of processes on real servers, the simulator
// of processes in simulated time.
//
// Versions of a key rise in the order in which the truth changed. A read is as old as
// the earliest acknowledged write of a higher version: at the time when it began, every
// process should have known of that for so long. See [History.Check].
package history
