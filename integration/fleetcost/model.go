package main

import (
	"fmt"
	"math"
	"time"
)

// Fleet is what the cost of a fleet depends on. Rates are those of all nodes
// together.
type Fleet struct {
	Nodes  int
	Writes float64 // calls that write, each second
	Keys   int     // keys in a call; more than one means a batch

	// Reread is the share of the other nodes that read a written key again
	// before it is written the next time: 0 to 1.
	Reread float64

	// OneRedis says that the shared tier and the bus are one Redis through one
	// client, so that a write of one key is announced in the same step.
	OneRedis bool

	Heartbeat  time.Duration // bus.Options.HeartbeatInterval; see Interval
	Repair     time.Duration // nearcache.NodeOptions.JournalInterval; 0 without a journal
	Partitions int           // of the shared tier

	NodeName, CacheName, Key int // sizes in bytes
}

// Defaults are a fleet with the defaults of the library.
func Defaults(nodes int, writes float64) Fleet {
	return Fleet{
		Nodes: nodes, Writes: writes, Keys: 1, Reread: 0.1,
		Heartbeat: time.Second, Repair: time.Second, Partitions: 1,
		NodeName: 20, CacheName: 8, Key: 16,
	}
}

// Cost is what happens each second.
type Cost struct {
	Heartbeats float64 // published
	Messages   float64 // published by nodes, heartbeats not among them
	Announced  float64 // published by the shared tier in the step that writes
	Deliveries float64 // of all these, to all nodes
	Published  float64 // bytes of payload
	Delivered  float64 // bytes of payload

	WriteCommands  float64 // one for each key
	ReadCommands   float64 // at most: what is read again after a write
	RepairRounds   float64
	RepairReads    float64 // of a journal
	RepairCommands float64
	RepairEntries  float64 // entries of journals that are sent to nodes
	RepairBytes    float64 // that Redis sends for them
}

// PerNode is how many messages a node takes in each second.
func (c Cost) PerNode(nodes int) float64 { return c.Deliveries / float64(nodes) }

// Commands is what the shared tier carries out.
func (c Cost) Commands() float64 { return c.WriteCommands + c.ReadCommands + c.RepairCommands }

// Validate returns an error that names what cannot be.
func (f Fleet) Validate() error {
	for _, c := range []struct {
		what string
		bad  bool
		is   any
	}{
		{"nodes", f.Nodes < 1, f.Nodes},
		{"writes", f.Writes < 0 || math.IsNaN(f.Writes) || math.IsInf(f.Writes, 0), f.Writes},
		{"keys", f.Keys < 1 || f.Keys > maxBatch, f.Keys},
		{"reread", !(f.Reread >= 0 && f.Reread <= 1), f.Reread},
		{"heartbeat", f.Heartbeat <= 0, f.Heartbeat},
		{"repair", f.Repair < 0, f.Repair},
		{"partitions", f.Partitions < 1, f.Partitions},
		{"node name", f.NodeName < 1 || f.NodeName > 64, f.NodeName},
		{"cache name", f.CacheName < 1 || f.CacheName > 64, f.CacheName},
		{"key", f.Key < 1 || f.Key > 1024, f.Key},
	} {
		if c.bad {
			return fmt.Errorf("fleetcost: %s cannot be %v", c.what, c.is)
		}
	}
	return nil
}

const (
	// maxBatch is bus.Options.MaxBatch, beyond which a call is several messages.
	maxBatch = 1024

	// A round of repair begins up to a quarter of the interval early, at random:
	// an eighth on average.
	repairPeriod = 1 - 1.0/8

	// heartbeatPerNode is what each node adds to the interval of the heartbeats, with a journal.
	heartbeatPerNode = 6700 * time.Microsecond

	// fewEntries is how many entries of a journal are read by the script that says
	// whether it can be read on. An XRANGE reads more.
	fewEntries = 16
)

// Interval returns the time between two heartbeats of a node: with a journal it follows the
// number of nodes.
func (f Fleet) Interval() time.Duration {
	if f.Repair == 0 {
		return f.Heartbeat
	}
	return max(f.Heartbeat, time.Duration(f.Nodes)*heartbeatPerNode)
}

// Of returns the cost of a fleet. Writers that are faster than the bus sends
// put what waits into one message, so Messages is the most there can be.
func Of(f Fleet) Cost {
	nodes, keys := float64(f.Nodes), f.Writes*float64(f.Keys)
	c := Cost{
		Heartbeats:    nodes / f.Interval().Seconds(),
		WriteCommands: keys,
		ReadCommands:  keys * f.Reread * (nodes - 1),
	}
	if f.OneRedis && f.Keys == 1 {
		c.Announced = f.Writes
	} else {
		c.Messages = f.Writes
	}
	c.Deliveries = nodes * (c.Heartbeats + c.Messages + c.Announced)
	c.Published = c.Heartbeats*f.heartbeatSize() + (c.Messages+c.Announced)*f.messageSize()
	c.Delivered = nodes * c.Published
	if f.Repair > 0 {
		c.RepairRounds = nodes / (f.Repair.Seconds() * repairPeriod)
		c.RepairReads = c.RepairRounds * float64(f.Partitions)
		c.RepairCommands = c.RepairReads
		if keys*f.Repair.Seconds()*repairPeriod/float64(f.Partitions) >= fewEntries {
			c.RepairCommands *= 2
		}
		c.RepairEntries = nodes * keys
		c.RepairBytes = c.RepairRounds*float64(f.Partitions)*(positionSize+f.entrySize()) + c.RepairEntries*f.entrySize()
	}
	return c
}

// headerSize is what every message of the bus begins with: 20 bytes and the
// name of the node. The table of the format is in docs/design/formats.md.
func (f Fleet) headerSize() float64 { return 20 + stringSize(f.NodeName) }

// heartbeatSize has an extension with a version and three numbers.
func (f Fleet) heartbeatSize() float64 {
	size := f.headerSize() + 2 + 3 + 3*10 + 8
	if f.Repair > 0 {
		size += 6 // says the interval
	}
	return size
}

// messageSize counts the name of the cache once: it is that of the key before.
func (f Fleet) messageSize() float64 {
	keys := float64(f.Keys)
	return f.headerSize() + uvarintSize(f.Keys) + float64(f.CacheName) + keys*(17+1+stringSize(f.Key))
}

func stringSize(n int) float64 { return uvarintSize(n) + float64(n) }

func uvarintSize(n int) float64 {
	if n < 1<<7 {
		return 1
	}
	return 2
}

// positionSize is what Redis answers for each journal and round beside entries:
// six fields of the script and the beginning of a list.
const positionSize = 87 + 4

// entrySize is an entry of a journal in the answer of XRANGE: an id of 18
// digits, a field named k, and 8 bytes in front of the key of the shared tier.
// Every round begins with the entry that was the last one of the round before.
func (f Fleet) entrySize() float64 { return 47 + 8 + float64(f.CacheName+1+f.Key) }
