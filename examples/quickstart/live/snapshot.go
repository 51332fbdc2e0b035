package live

import "time"

// Snapshot is what the page shows.
type Snapshot struct {
	Faults
	Resting  bool        `json:"resting"`
	Database [keys]int64 `json:"database"` // the version of each record
	Sides    [2]Side     `json:"sides"`
	Hops     []hop       `json:"hops"` // messages that came, since the last snapshot
}

// Side is what the page shows of one cache.
type Side struct {
	Answers  int64                `json:"answers"` // that were compared with the writes
	Stale    int64                `json:"stale"`   // of the answers, those older than Bound
	Versions [servers][keys]int64 `json:"versions"`
	Old      [servers][keys]int   `json:"old"` // for how many seconds answers have been older than Bound; 0 if they are not
	About    [servers]string      `json:"about"`
	Times    []int64              `json:"times"` // a count for each part of the histogram
}

// cursor says what a viewer has seen.
type cursor [2]uint64

// newCursor returns that of a viewer who comes now.
func (d *Demo) newCursor() (c cursor) {
	for i, s := range d.sides {
		c[i] = s.traffic.latest()
	}
	return c
}

// Snapshot returns how things are, without messages.
func (d *Demo) Snapshot() Snapshot {
	seen := d.newCursor()
	return d.since(&seen)
}

// since returns how things are, and the messages since the last call.
func (d *Demo) since(seen *cursor) Snapshot {
	snap := Snapshot{Faults: d.switches.now(), Resting: d.resting.Load(), Hops: []hop{}}
	for key := range keys {
		snap.Database[key] = d.database[key].Load()
	}
	for i, s := range d.sides {
		snap.Sides[i] = s.snapshot(snap.Paused)
		hops := s.traffic.since(seen[i])
		if len(hops) > 0 {
			seen[i] = hops[len(hops)-1].Number
		}
		snap.Hops = append(snap.Hops, hops...)
	}
	return snap
}

func (s *side) snapshot(paused [servers]bool) Side {
	times := s.times.all()
	side := Side{Answers: s.answers.Load(), Stale: s.stale.Load(), Times: times[:]}
	for server := range servers {
		for key := range keys {
			c := &s.copies[server][key]
			side.Versions[server][key] = c.version.Load()
			if since := c.since.Load(); since != 0 {
				side.Old[server][key] = int((time.Since(time.Unix(0, since)) + Bound).Seconds())
			}
		}
		side.About[server] = s.about(server)
		if paused[server] {
			side.About[server] = "stands still"
		}
	}
	return side
}
