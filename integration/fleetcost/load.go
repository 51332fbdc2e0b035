package main

import (
	"sort"
	"time"
)

// Processor time of a server for what a fleet asks of it, as BenchmarkServerTime
// and BenchmarkFanOut measure it: on a virtual processor of a 2-core machine
// (AMD EPYC), one request at a time. A server that is busy takes less, since it
// reads and writes more at once.
const (
	redisDelivery = 5000 * time.Nanosecond
	natsDelivery  = 7500 * time.Nanosecond
	redisWrite    = 24 * time.Microsecond
	redisRead     = 11 * time.Microsecond
	redisRound    = 37 * time.Microsecond // for each journal
	redisEntry    = 260 * time.Nanosecond
)

// TierLoad is how many processors the shared tier's Redis needs. One is all that
// it can use.
func (c Cost) TierLoad() float64 {
	return c.WriteCommands*redisWrite.Seconds() + c.ReadCommands*redisRead.Seconds() +
		c.RepairReads*redisRound.Seconds() + c.RepairEntries*redisEntry.Seconds()
}

// RedisBusLoad is how many processors a Redis needs that is the bus. One is all
// that it can use. If it is the shared tier as well, add TierLoad.
func (c Cost) RedisBusLoad() float64 { return c.Deliveries * redisDelivery.Seconds() }

// NATSBusLoad is how many processors a NATS server needs, or all servers of a
// cluster together.
func (c Cost) NATSBusLoad() float64 { return c.Deliveries * natsDelivery.Seconds() }

// HeartbeatFor returns the shortest heartbeat interval, in whole seconds, with
// which the heartbeats of so many nodes take no more than a share of a
// processor of a Redis.
func HeartbeatFor(nodes int, share float64) time.Duration {
	perSecond := float64(nodes) * float64(nodes) * redisDelivery.Seconds()
	interval := time.Duration(perSecond / share * float64(time.Second))
	return max(time.Second, (interval + time.Second - 1).Truncate(time.Second))
}

// deliveryOfStream is what a JetStream server needs for a message that it hands to one node.
const deliveryOfStream = 12 * time.Microsecond

// StreamBusLoad is how many processors JetStream needs.
func (c Cost) StreamBusLoad() float64 { return c.Deliveries * deliveryOfStream.Seconds() }

// Largest returns how many nodes a fleet like f may have at most, up to a million, so that load
// is no more than share.
func Largest(f Fleet, share float64, load func(Cost) float64) int {
	return sort.Search(1e6, func(n int) bool {
		f.Nodes = n + 1
		return load(Of(f)) > share
	})
}
