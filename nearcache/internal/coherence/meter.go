package coherence

import (
	"context"
	"math/bits"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// MaxAuditRate is how many entries a node compares in a second at most.
const MaxAuditRate = 10_000

const (
	maxMeterBatch = 256 // keys read at a time

	// AgeBuckets is how many groups of ages there are.
	AgeBuckets = 20
)

// Consistency is what a node found out about its own near tier. The fields are those of
// nearcache.Consistency, which describes them.
type Consistency struct {
	Checked  uint64
	Stale    uint64
	Skipped  uint64
	Failures uint64

	Staleness [AgeBuckets]uint64
	Undated   uint64
	Worst     time.Duration

	Proven time.Time
}

// Consistency returns what the meter found since the node was opened.
func (n *Node) Consistency() Consistency {
	n.meter.mu.Lock()
	defer n.meter.mu.Unlock()
	return n.meter.found
}

// meter compares entries of the near tier with the shared tier.
type meter struct {
	next uint64 // chain to go on from; of the goroutine that runs it

	mu    sync.Mutex // protects found
	found Consistency
}

// runMeter ends with the node.
func (n *Node) runMeter() {
	batch := min(n.Options.AuditRate, maxMeterBatch)
	ticker := time.NewTicker(time.Duration(batch) * time.Second / time.Duration(n.Options.AuditRate))
	defer ticker.Stop()
	for {
		select {
		case <-n.Context.Done():
			return
		case <-ticker.C:
			n.sample(batch)
		}
	}
}

// probe is an entry that is being compared.
type probe struct {
	entry *near.Entry
	name  string // in the shared tier
	cache *Keyspace
}

// sample compares some entries. It reads the clocks of their caches along, since
// a Clear makes them stale as well.
func (n *Node) sample(most int) {
	probes, clocks, names := n.probes(most)
	if len(probes) == 0 {
		return
	}
	began := time.Now()
	known := make(map[*Keyspace]uint64, len(clocks))
	for c := range clocks {
		_, known[c] = c.ownClock()
	}
	ctx, cancel := context.WithTimeout(n.own, jobTimeout)
	defer cancel()
	found, err := n.Tier.Read(ctx, names)
	m := &n.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.found.Failures++
		return
	}
	checked, stale := m.found.Checked, m.found.Stale
	for i, p := range probes {
		clock := &found[clocks[p.cache]]
		switch newer, comparable := newerThan(p.entry.Revision, &found[i]); {
		case clock.Err == nil && clock.Kind == driver.KindWatermark && clock.Revision.Number > known[p.cache]:
			m.judgeLocked(n, &p, clock.Revision)
		case !comparable:
			m.found.Skipped++
		case newer:
			m.judgeLocked(n, &p, found[i].Revision)
		default:
			m.found.Checked++
		}
	}
	if m.found.Checked > checked && m.found.Stale == stale {
		m.found.Proven = began
	}
}

// probes chooses entries, and returns the names to be read for them: those of
// the entries in their order, and at clocks[cache] that of the clock of a cache.
func (n *Node) probes(most int) (probes []probe, clocks map[*Keyspace]int, names []string) {
	var entries []*near.Entry
	entries, n.meter.next = n.Near.Sample(n.meter.next, most)
	clocks = make(map[*Keyspace]int)
	for _, e := range entries {
		for _, c := range n.caches.all() {
			if name, own := c.nameOf(e); own {
				probes = append(probes, probe{e, name, c})
				names = append(names, name)
				clocks[c] = 0
				break
			}
		}
	}
	for c := range clocks {
		key, _ := c.ownClock()
		clocks[c] = len(names)
		names = append(names, key)
	}
	return probes, clocks, names
}

// newerThan reports whether the shared tier has something newer than a value of
// this revision, and whether that can be told.
func newerThan(rev driver.Revision, found *shared.Found) (newer, comparable bool) {
	other := found.Revision
	if rev.Number == 0 || other.Number == 0 || rev.Epoch != other.Epoch {
		return false, false
	}
	if rev.Epoch == 0 {
		return rev.Number != other.Number, true // it was read before, and is another one now
	}
	return other.Number > rev.Number, true
}

// judgeLocked counts an entry for which the shared tier has something newer, as
// stale if it is still in its place: otherwise it went in time.
func (m *meter) judgeLocked(n *Node, p *probe, newer driver.Revision) {
	m.found.Checked++
	if !n.Near.InPlace(p.entry) {
		return
	}
	m.found.Stale++
	if newer.Epoch == 0 || n.Journal == nil && n.Tier.Partitions() == 0 {
		m.found.Undated++
		return
	}
	age := time.Duration(max(0, int64(n.Tier.Newest(p.name)-newer.Number))) * time.Microsecond
	m.found.Worst = max(m.found.Worst, age)
	m.found.Staleness[min(bits.Len64(uint64(age/time.Millisecond)), AgeBuckets-1)]++
}

// nameOf returns the name that the key of e has in the shared tier, if e is an
// entry of c.
func (rs *Records) nameOf(e *near.Entry) (name string, own bool) {
	if !rs.Space.Has(e) {
		return "", false
	}
	return rs.StoreKey(e.Key()), true
}

// ownClock returns the name of the clock, and what is known of it.
func (rs *Records) ownClock() (key string, value uint64) {
	value, _, _ = rs.Clock.Get()
	return rs.clockKey(), value
}
