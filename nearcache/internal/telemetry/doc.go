// Package telemetry tells others what a node does, without ever keeping a request: notes for
// an observer go through a bounded queue, each span has a goroutine of its own, and durations
// are counted in buckets.
//
// Notes and spans are two things, since a span needs the context of the request when it
// begins, and has to give one back that the load runs on. A note needs neither, so nobody
// waits for it.
//
// The package knows no caches, keys or values.
package telemetry
