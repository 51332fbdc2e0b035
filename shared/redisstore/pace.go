package redisstore

import "time"

const (
	// fewReads and fewSteps are how many requests are under way at a time, at least. A single
	// silent connection must not hold up everybody. A script costs more than the request that
	// brings it, so there is less to gain from company.
	fewReads = 2
	fewSteps = 4

	// spacing is the time between two requests, on average, when many callers come: about
	// what a request costs the processors of both sides. A shorter wait for the next request
	// would not pay for it.
	spacing = 100 * time.Microsecond

	// maxTogether bounds how many callers share a request.
	maxTogether = 64

	// smallBatch is about how many bytes share a request while there are connections: more
	// would save little, and may take a connection more than a round trip. Otherwise between
	// largeBatch and hugeBatch bytes share a request.
	smallBatch = 32 << 10
	largeBatch = 64 << 10
	hugeBatch  = 1 << 20

	// leastPatience is how long answers are waited for at least.
	leastPatience = 100 * time.Millisecond

	// window is for how long the shortest round trip is remembered, at least.
	window = 2 * time.Second
)

// pace says how many requests are under way at a time, how much is in each, and how long
// their answers are waited for. All of it follows from the requests before.
//
// Requests wait for company only as long as it pays. One departs each spacing, and as many
// are under way as that makes in a round trip. On loopback those are few, and what a request
// costs is shared by many callers. Over a network there is one for each caller, up to the
// number of connections. The round trip is the shortest one seen lately, because requests
// that wait for each other take longer the more there are. What is full departs at once,
// while there are connections: in it, bytes cost more than the request.
//
// A pace is not safe for use by several goroutines.
type pace struct {
	few, most int           // requests under way; most wins
	least     time.Duration // patience

	trip, before time.Duration // the shortest round trip of this window, and of the one before
	since        time.Time     // when this window began
	mean, off    time.Duration // smoothed round trip, and deviation from it
	batch        int           // bytes that share a request, 0 at first
}

// learn takes in that a request that moved so many bytes was answered now.
func (p *pace) learn(now time.Time, took time.Duration, bytes int) {
	if now.Sub(p.since) > window {
		p.before, p.trip, p.since = p.trip, took, now
	}
	p.trip = min(p.trip, took)
	if p.mean == 0 {
		p.mean, p.off = took, took/2
	} else {
		p.off += ((took - p.mean).Abs() - p.off) / 4
		p.mean += (took - p.mean) / 8
	}
	// A full batch that took hardly longer than a round trip could have been larger.
	switch full := bytes > p.bytes()/2; {
	case full && took < 2*p.shortest():
		p.batch = min(2*p.bytes(), hugeBatch)
	case full && took > 4*p.shortest():
		p.batch = max(p.bytes()/2, largeBatch)
	}
}

// shortest returns the shortest round trip seen lately.
func (p *pace) shortest() time.Duration {
	if p.before > 0 {
		return min(p.trip, p.before)
	}
	return p.trip
}

// lanes returns how many requests are under way at a time.
func (p *pace) lanes() int { return min(max(int(p.shortest()/spacing), p.few), p.most) }

// bytes returns about how many bytes share a request at most.
func (p *pace) bytes() int { return max(p.batch, largeBatch) }

// patience returns how long an answer is waited for before it counts as lost: as long as TCP
// waits (RFC 6298), whose clock takes the place of leastPatience.
func (p *pace) patience() time.Duration { return max(p.least, p.mean+4*p.off) }
