// Package generation keeps the numbers that a node has heard of: how often a cache was
// cleared, up to where its tags were invalidated, and the revisions of its shared tier. They
// decide which records and entries are valid. The package holds plain data, protected by
// locks of its own; it does no I/O, and knows no caches, keys or values.
//
// Every number only rises in the shared tier. A node may have missed that one rose, and
// forgets then that the number is known; the next read learns it again. A read that began
// before the number was forgotten does not make it known.
package generation
