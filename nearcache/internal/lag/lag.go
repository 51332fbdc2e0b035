// Package lag tells how long ago a key was invalidated, and whether a load of it began so
// soon after that a replica of its source may have answered with an old value. Nothing in
// it is safe for use by several goroutines.
package lag

import (
	"time"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Recency tells how long ago the newest invalidation of a key was that the shared tier
// knows of. The zero Recency is that none is known.
type Recency struct {
	Known bool

	ago   time.Duration // by the server's clock, when it was asked
	heard time.Time     // when it had answered
}

// Now returns how long ago the invalidation is now: not more than it really is.
func (r Recency) Now() time.Duration { return r.ago + time.Since(r.heard) }

// Newer returns the newer of two.
func (r Recency) Newer(o Recency) Recency {
	if !o.Known || r.Known && r.Now() <= o.Now() {
		return r
	}
	return o
}

// leastTime is the least number that is a time. The numbers below are of no invalidation:
// what gives a lease back has one where nothing was before.
const leastTime = 1 << 40

// recencyOf is the Recency of a number that is a time of the server's clock, in
// microseconds.
func recencyOf(number uint64, server, heard time.Time) Recency {
	if number < leastTime {
		return Recency{}
	}
	return Recency{Known: true, ago: max(0, server.Sub(time.UnixMicro(int64(number)))), heard: heard}
}

// recencyIn is the Recency of the record that a load is to replace. A record has the
// revision of what made it, and a lease the revision of what it replaced. A value is one
// that the node does not believe or cannot read: nothing is known to be newer than its write
// or load. Where revisions are no times, the invalidation may have been just now.
func recencyIn(r *driver.Record, server, heard time.Time) Recency {
	switch {
	case r.Kind == 0 || r.Kind == driver.KindWatermark:
		return Recency{}
	case r.Revision.Epoch == 0 && r.Revision.Number != 0 || server.IsZero():
		return Recency{Known: true, heard: heard}
	}
	return recencyOf(r.Revision.Number, server, heard)
}

// Lag says by which clock a load under a lease is judged, and what it is judged by.
type Lag struct {
	Ended Recency // of the newest invalidation
	Young bool    // the load began too soon after that

	server time.Time // the server's clock when the lease was granted
	heard  time.Time // when that was heard
	began  time.Time // when the load began
}

// New returns the Lag of a load that is to replace the record replaced, under a lease
// that was granted just now.
func New(got *shared.Claimed, replaced *driver.Record) Lag {
	l := Lag{server: got.Now, heard: time.Now()}
	l.Ended = recencyIn(replaced, l.server, l.heard)
	return l
}

// Invalidated takes in an invalidation at a time of the server's clock.
func (l *Lag) Invalidated(number uint64) {
	l.Ended = l.Ended.Newer(recencyOf(number, l.server, l.heard))
}

// Asked says that somebody asks for a load, after a change in the source perhaps of which nothing
// else tells.
func (l *Lag) Asked() { l.Ended = Recency{Known: true, heard: time.Now()} }

// Begin says that the load begins. It is young if the newest invalidation was less than d
// ago.
func (l *Lag) Begin(d time.Duration) {
	l.began = time.Now()
	l.Young = l.Ended.Known && l.Ended.Now() < d
}

// Within reports whether the load began less than d after a time of the server's clock.
func (l *Lag) Within(number uint64, d time.Duration) bool {
	r := recencyOf(number, l.server.Add(l.began.Sub(l.heard)), l.began)
	return r.Known && r.ago < d
}
