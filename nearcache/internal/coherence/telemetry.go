package coherence

import (
	"errors"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// watched is what others are told of a node. Nothing of it is on the path of a near hit.
type watched struct {
	Notes     *telemetry.Queue // nil without an observer
	Spans     *telemetry.Spans // nil without a tracer
	Durations [telemetry.Kinds]telemetry.Histogram
}

// Took takes in that something which began then is over. err is why it failed.
func (n *Node) Took(kind telemetry.Kind, cache string, count int, began time.Time, err error) {
	took := time.Since(began)
	n.Durations[kind].Observe(took)
	n.Notes.Tell(telemetry.Note{Kind: kind, Cache: cache, Count: count, At: began, Took: took, Err: err})
}

// Took is that of the node, of one cache.
func (rs *Records) Took(kind telemetry.Kind, count int, began time.Time, err error) {
	took := time.Since(began)
	rs.Durations[kind].Observe(took)
	rs.node.Notes.Tell(telemetry.Note{Kind: kind, Cache: rs.Name, Count: count, At: began, Took: took, Err: err})
}

// Happened tells the observer that something happened now.
func (n *Node) Happened(note telemetry.Note) {
	if n.Notes != nil {
		note.At = time.Now()
		n.Notes.Tell(note)
	}
}

// tookShared takes in a call of the shared tier for count keys, of which one is storeKey.
func (n *Node) tookShared(kind telemetry.Kind, storeKey string, count int, began time.Time, err error) {
	n.observeBreaker(err)
	name, _ := journal.SplitKey(storeKey)
	n.Took(kind, name, count, began, err)
}

// failure returns why a call failed: the first error that is none of what becomes of leases.
func failure(receipts []driver.Receipt) error {
	for i := range receipts {
		if err := receipts[i].Err; err != nil && !errors.Is(err, shared.ErrLeaseLost) {
			return err
		}
	}
	return nil
}

// tookApplied takes in that a message of another node was applied. How long it is since the
// write of its first key is told by the clock of the shared tier, where that numbers writes by
// time: it is no more than what is taken in. A number ahead of that clock tells nothing.
func (n *Node) tookApplied(m *bus.Message) {
	if m.Own {
		return
	}
	first := &m.Invalidations[0]
	var lag time.Duration
	ofKey := first.Op != bus.OpClear && first.Op != bus.OpTag
	if n.Journal != nil && ofKey && first.Epoch != 0 && first.Revision != 0 && !n.foreign(m) {
		if newest := n.Tier.Newest(first.Cache + ":" + first.Key); first.Revision <= newest {
			lag = max(1, time.Duration(newest-first.Revision)*time.Microsecond)
			n.Durations[telemetry.Applied].Observe(lag)
		}
	}
	if n.Notes == nil {
		return
	}
	cache := first.Cache
	for i := range m.Invalidations {
		if m.Invalidations[i].Cache != cache {
			cache = ""
		}
	}
	n.Happened(telemetry.Note{Kind: telemetry.Applied, Cache: cache, Count: len(m.Invalidations), Took: lag})
}

// watchPause is how often an observed node looks whether it is trusted, at most and at least.
const (
	longestWatchPause  = 250 * time.Millisecond
	shortestWatchPause = 10 * time.Millisecond
)

// watchTrust tells the observer when the node loses trust, and when it wins it. It ends with
// the node.
func (n *Node) watchTrust() {
	ticker := time.NewTicker(min(max(n.Options.MaxStaleness/20, shortestWatchPause), longestWatchPause))
	defer ticker.Stop()
	since, trusted := time.Now(), false
	for {
		select {
		case <-n.Context.Done():
			return
		case <-ticker.C:
		}
		t := n.Trust()
		if t.Closed || t.Trusted == trusted {
			continue
		}
		note := telemetry.Note{Kind: telemetry.TrustWon, Took: time.Since(since)}
		if !t.Trusted {
			note.Kind, note.Err = telemetry.TrustLost, errors.New("nearcache: "+t.Why())
		}
		since, trusted = time.Now(), t.Trusted
		n.Happened(note)
	}
}
