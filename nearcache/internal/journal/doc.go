// Package journal follows the journals of a shared tier, whatever the bus loses.
//
// A follower reads the journals in rounds. A round reads what was written since the last one,
// has it applied, and then moves the horizon of each partition to when the round began: the
// node has heard of every write of before. Where a journal cannot be read on, its end is
// learned first, then what it decides is flushed, and only then the horizon moves. A write
// between two of these is therefore flushed, or read by the next round.
//
// The package knows no caches, keys or values: its owner applies entries.
package journal
