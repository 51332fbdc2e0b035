package simredis

import (
	"math/rand/v2"
	"time"
)

// Version is the version of Redis whose answers a [Server] gives.
const Version = "7.0.15"

// Options configure a [Server]. The zero value is a primary with unbounded memory.
type Options struct {
	// Seed is that of all chance: ids of runs, evictions.
	Seed uint64

	// Now tells the time, to which the offset of [Server.SetClock] is added. Nil means
	// time.Now, which is the bubble's.
	Now func() time.Time

	// RunID is the id of the first run, of 40 hexadecimal digits. Empty means one that
	// follows from Seed.
	RunID string

	// MinReplicas is how many replicas have to be heard of lately, or the server
	// refuses writes: min-replicas-to-write. Zero asks for none.
	MinReplicas int

	// MinReplicasMaxLag is how long a replica counts that is not heard of:
	// min-replicas-max-lag. Zero means 10 seconds.
	MinReplicasMaxLag time.Duration

	// OutputLimit is how many bytes wait for a client at most before it is cut off. Zero
	// means 32 MiB, the hard limit of Redis for subscribers.
	OutputLimit int
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MinReplicasMaxLag == 0 {
		o.MinReplicasMaxLag = 10 * time.Second
	}
	if o.OutputLimit == 0 {
		o.OutputLimit = 32 << 20
	}
	return o
}

const idDigits = 40

// zeroID is the second replication id of a server that took over from none.
const zeroID = "0000000000000000000000000000000000000000"

// newID returns an id of a run or of a history of writes.
func newID(r *rand.Rand) string {
	const digits = "0123456789abcdef"
	id := make([]byte, idDigits)
	for i := range id {
		id[i] = digits[r.IntN(len(digits))]
	}
	return string(id)
}
