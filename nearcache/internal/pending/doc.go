// Package pending keeps the invalidations of a cache that could not be delivered, and runs
// the attempts to deliver them. An invalidation is pending until it was delivered, or until
// a later write of the same key succeeded. Until then, the shared tier may have an old value
// of its key, which the node must not read.
//
// The package holds plain data, protected by a lock of its own, and does no I/O by itself.
package pending
