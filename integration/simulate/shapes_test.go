package simulate

import (
	"time"
)

// shapes are fleets in which what a mechanism is for shows sooner than in others.
// Those without faults are quick, and come often.
var shapes = []func(*Plan){restored, silent, hot, silent, unheard, silent, refreshing, silent, anyFleet, silent, moved, silent, questioned}

// shaped is the plan of a seed, in one shape after the other.
func shaped(from uint64) *Plan {
	p := NewPlan(from)
	p.Nodes = 2 + int(from%4)
	shapes[from%uint64(len(shapes))](p)
	p.draw()
	return p
}

func anyFleet(*Plan) {}

// silent fleets have no faults, so that they are held to more.
func silent(p *Plan) {
	p.Quiet, p.Length, p.Slow, p.Behind, p.SourceLag = true, 20*time.Second, false, 0, 0
}

// unheard fleets have a bus that is hardly there.
func unheard(p *Plan) {
	p.Store, p.Bus, p.Only = Redis, OtherRedis, []string{"bus-cut", "bus-deaf"}
	p.Keys, p.Pace, p.Length, p.Slow, p.Features = 8, 4, 20*time.Second, false, false
}

// hot fleets have few keys, which everybody reads and writes over a slow network.
func hot(p *Plan) {
	p.Keys, p.Pace, p.Length, p.Slow, p.Features = 8, 4, 30*time.Second, true, false
}

// refreshing fleets are hot ones whose values live shortly and are refreshed.
func refreshing(p *Plan) {
	hot(p)
	p.Features = true
}

// moved fleets have connections to a server that was the primary.
func moved(p *Plan) {
	p.Only, p.Features, p.Keys, p.Pace = []string{"demoted", "misled"}, false, 8, 4
}

// questioned fleets ask for barriers while processes hear neither the bus nor the journal.
func questioned(p *Plan) {
	p.Store, p.Bus, p.Only, p.Features = Redis, OtherRedis, []string{"cut", "bus-half-open"}, false
	p.Keys, p.Pace, p.Length, p.Slow = 8, 4, time.Minute, false
	p.JournalInterval, p.MaxStaleness = time.Second, 5*time.Second
}

// restored fleets have tight bounds, and a server that comes back with what it had.
func restored(p *Plan) {
	p.Only, p.JournalInterval, p.MaxStaleness = []string{"restart-disk", "cut"}, 200*time.Millisecond, 500*time.Millisecond
	p.Features, p.Keys, p.Pace = false, 8, 4
}
