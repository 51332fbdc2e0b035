package bus

import "time"

const (
	// silentMemory is for how long a process that fell silent is remembered.
	silentMemory = 10 * time.Minute

	// maxSilent is how many of them are.
	maxSilent = 64
)

// silencedLocked remembers a peer that fell silent. Of too many, the one that has been silent for
// longest is forgotten. Who did not listen is missed by nobody.
func (p *peers) silencedLocked(id uint64, who *peer) {
	if !who.listed() {
		return
	}
	if p.silent == nil {
		p.silent = make(map[uint64]*peer)
	}
	who.silent = true
	p.silent[id] = who
	if len(p.silent) <= maxSilent {
		return
	}
	oldest := id
	for other, was := range p.silent {
		if was.came < p.silent[oldest].came {
			oldest = other
		}
	}
	delete(p.silent, oldest)
}

// returnedLocked takes in that a process with this incarnation and name is heard: it was silent,
// or stands for one that was.
func (p *peers) returnedLocked(id uint64, node string) {
	for other, was := range p.silent {
		if other == id || was.node == node {
			delete(p.silent, other)
		}
	}
}

// fadeLocked forgets who has been silent for long.
func (p *peers) fadeLocked(now int64) {
	for id, was := range p.silent {
		if was.came < now-int64(silentMemory) {
			delete(p.silent, id)
			p.changed = true
		}
	}
}
