package nearcache

import (
	"maps"
	"math"
	"slices"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
)

// MetricKind says how a metric changes.
type MetricKind uint8

// The kinds of metrics.
const (
	Counter   MetricKind = iota // only rises while the process lives
	Gauge                       // goes up and down
	Histogram                   // counts durations; see Buckets
)

// Metric is one number of a node, or one histogram, under the name that every bridge to a system
// of metrics uses.
type Metric struct {
	Name  string // in the form of Prometheus: counters end in _total, times are in seconds
	Help  string
	Kind  MetricKind
	Cache string  // the cache that it is of; empty if it is of the node
	Value float64 // of a histogram, the sum of all durations in seconds

	// Buckets are those of a histogram, the shortest durations first; nil for others. All
	// histograms have the same bounds. The slice is the caller's.
	Buckets []Bucket
}

// Bucket counts durations in a [Metric].
type Bucket struct {
	UpTo  float64 // in seconds, included; +Inf in the last one
	Count uint64  // of those that are longer than UpTo of the bucket before
}

// Metrics returns all numbers of [Cache.Stats] of the caches of the node, what each takes of the
// near tier, [Node.Stats], [Node.Health], and the Stats of its shared tier and its bus, as far as
// there are any, and how long things took. Names
// and their order do not change while the node lives, but for caches that are opened or closed. A call
// costs some microseconds for each cache, so that each scrape can make it. Package nearprom shows
// them to Prometheus.
func (n *Node) Metrics() []Metric {
	var all []Metric
	n.mu.Lock()
	caches := maps.Clone(n.caches)
	n.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(caches)) {
		c := caches[name]
		all = appendMetrics(all, cacheMetrics, c.stats(), name)
		all = appendMetrics(all, shareMetrics, c.keys.Space.Share(), name)
		all = appendHistograms(all, cacheHistograms, &c.keys.Durations, name)
	}
	all = appendMetrics(all, nodeMetrics, n.Stats(), "")
	all = appendHistograms(all, nodeHistograms, &n.core.Durations, "")
	all = appendMetrics(all, healthMetrics, n.Health(), "")
	if n.core.Tier != nil {
		all = appendMetrics(all, tierMetrics, n.core.Tier.Stats(), "")
	}
	if n.core.Bus != nil {
		all = appendMetrics(all, busMetrics, n.core.Bus.Stats(), "")
	}
	return all
}

// MetricList returns every metric that [Node.Metrics] may have, without its value, for bridges that
// have to name all at the start. Those of caches have "*" for the name of the cache.
func MetricList() []Metric {
	all := appendMetrics(nil, cacheMetrics, Stats{}, "*")
	all = appendMetrics(all, shareMetrics, near.Share{}, "*")
	all = appendHistograms(all, cacheHistograms, &[telemetry.Kinds]telemetry.Histogram{}, "*")
	all = appendMetrics(all, nodeMetrics, NodeStats{}, "")
	all = appendHistograms(all, nodeHistograms, &[telemetry.Kinds]telemetry.Histogram{}, "")
	all = appendMetrics(all, healthMetrics, Health{}, "")
	all = appendMetrics(all, tierMetrics, shared.Stats{}, "")
	return appendMetrics(all, busMetrics, bus.Stats{}, "")
}

// metric is one number of a struct S.
type metric[S any] struct {
	name, help string
	kind       MetricKind
	value      func(S) float64
}

func counter[S any](name, help string, value func(S) float64) metric[S] {
	return metric[S]{name, help, Counter, value}
}

func gauge[S any](name, help string, value func(S) float64) metric[S] {
	return metric[S]{name, help, Gauge, value}
}

func appendMetrics[S any](all []Metric, metrics []metric[S], stats S, cache string) []Metric {
	for _, m := range metrics {
		all = append(all, Metric{Name: m.name, Help: m.help, Kind: m.kind, Cache: cache, Value: m.value(stats)})
	}
	return all
}

// histogram is how long what is of one kind took.
type histogram struct {
	name, help string
	kind       telemetry.Kind
}

func appendHistograms(all []Metric, histograms []histogram, durations *[telemetry.Kinds]telemetry.Histogram, cache string) []Metric {
	for _, h := range histograms {
		counts := durations[h.kind].Counts()
		m := Metric{Name: h.name, Help: h.help, Kind: Histogram, Cache: cache, Value: counts.Sum.Seconds()}
		for i, count := range counts.Buckets {
			b := Bucket{UpTo: math.Inf(1), Count: count}
			if i < len(telemetry.Bounds) {
				b.UpTo = telemetry.Bounds[i].Seconds()
			}
			m.Buckets = append(m.Buckets, b)
		}
		all = append(all, m)
	}
	return all
}

// cacheHistograms are those of each cache.
var cacheHistograms = []histogram{
	{"nearbus_cache_load_duration_seconds", "How long calls of loaders took.", telemetry.Load},
	{"nearbus_cache_wait_duration_seconds", "How long this node waited for loads of others.", telemetry.Wait},
}

var nodeHistograms = []histogram{
	{"nearbus_shared_read_duration_seconds", "How long reads of the shared tier took.", telemetry.SharedRead},
	{"nearbus_shared_write_duration_seconds", "How long writes of the shared tier took, leases included.", telemetry.SharedWrite},
	{"nearbus_bus_publish_duration_seconds", "How long it took to publish.", telemetry.Publish},
	{"nearbus_journal_round_duration_seconds", "How long rounds of reading the journal took.", telemetry.Repair},
	{"nearbus_node_lag_seconds", "How long after a write of another node its message was applied, at most.", telemetry.Applied},
}

// shareMetrics are what each cache takes of the near tier.
var shareMetrics = []metric[near.Share]{
	gauge("nearbus_cache_near_entries", "Entries in the near tier.", func(s near.Share) float64 { return float64(s.Entries) }),
	gauge("nearbus_cache_near_bytes", "Size in the near tier.", func(s near.Share) float64 { return float64(s.Bytes) }),
	gauge("nearbus_cache_near_tag_bytes", "Size of what is known of tags in the near tier.", func(s near.Share) float64 { return float64(s.Tables) }),
	counter("nearbus_cache_near_evicted_total", "Entries given up for others.", func(s near.Share) float64 { return float64(s.Evicted) }),
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// cacheMetrics are those of each cache.
var cacheMetrics = []metric[Stats]{
	counter("nearbus_cache_hits_total", "Reads answered from the near tier.", func(s Stats) float64 { return float64(s.Reads.Hits) }),
	counter("nearbus_cache_misses_total", "Reads not answered from the near tier.", func(s Stats) float64 { return float64(s.Reads.Misses) }),
	counter("nearbus_cache_shared_hits_total", "Values found in the shared tier.", func(s Stats) float64 { return float64(s.Reads.SharedHits) }),
	counter("nearbus_cache_loads_total", "Keys that a loader was asked for.", func(s Stats) float64 { return float64(s.Loads.Keys) }),
	counter("nearbus_cache_load_errors_total", "Loads that failed.", func(s Stats) float64 { return float64(s.Loads.Errors) }),
	counter("nearbus_cache_panics_total", "Panics of loaders, codecs and functions in Options.", func(s Stats) float64 { return float64(s.Values.Panics) }),
	counter("nearbus_cache_unrequested_total", "Values that loaders returned for keys they were not asked for.", func(s Stats) float64 { return float64(s.Loads.Unrequested) }),
	counter("nearbus_cache_waits_total", "Times that this node waited for a load of another.", func(s Stats) float64 { return float64(s.Loads.Waits) }),
	counter("nearbus_cache_lease_timeouts_total", "Waits that took the whole lease time.", func(s Stats) float64 { return float64(s.Loads.LeaseTimeouts) }),
	counter("nearbus_cache_fills_rejected_total", "Loaded values that were not stored because of a write in between.", func(s Stats) float64 { return float64(s.Loads.Rejected) }),
	counter("nearbus_cache_queued_total", "Calls of a loader that waited for a place.", func(s Stats) float64 { return float64(s.Loads.Queued) }),
	counter("nearbus_cache_absent_hits_total", "Hits that said that there is no value.", func(s Stats) float64 { return float64(s.Reads.AbsentHits) }),
	counter("nearbus_cache_stale_total", "Answers that were old values.", func(s Stats) float64 { return float64(s.Reads.Stale) }),
	counter("nearbus_cache_refreshed_total", "Values refreshed in the background.", func(s Stats) float64 { return float64(s.Loads.Refreshed) }),
	counter("nearbus_cache_degraded_total", "Loads past the shared tier, because it did not answer or an invalidation is pending.", func(s Stats) float64 { return float64(s.Loads.Degraded) }),
	counter("nearbus_cache_sets_total", "Keys set.", func(s Stats) float64 { return float64(s.Writes.Sets) }),
	counter("nearbus_cache_invalidations_total", "Keys deleted or invalidated.", func(s Stats) float64 { return float64(s.Writes.Invalidations) }),
	counter("nearbus_cache_clears_total", "Times that the cache was cleared.", func(s Stats) float64 { return float64(s.Writes.Clears) }),
	counter("nearbus_cache_tag_invalidations_total", "Tags invalidated.", func(s Stats) float64 { return float64(s.Writes.TagInvalidations) }),
	counter("nearbus_cache_touches_total", "Values that got a later end in the shared tier.", func(s Stats) float64 { return float64(s.Writes.Touches) }),
	counter("nearbus_cache_tag_misses_total", "Records found that a tag had ended.", func(s Stats) float64 { return float64(s.Shared.TagMisses) }),
	counter("nearbus_cache_shared_errors_total", "Calls of the shared tier that failed.", func(s Stats) float64 { return float64(s.Shared.Errors) }),
	counter("nearbus_cache_unannounced_total", "Writes that the bus did not take.", func(s Stats) float64 { return float64(s.Writes.Unannounced) }),
	gauge("nearbus_cache_pending_invalidations", "Invalidations that could not be delivered yet.", func(s Stats) float64 { return float64(s.Writes.Pending) }),
	counter("nearbus_cache_unverified_total", "Records found that could not be confirmed.", func(s Stats) float64 { return float64(s.Shared.Unverified) }),
	counter("nearbus_cache_undecodable_total", "Records found that this cache cannot read.", func(s Stats) float64 { return float64(s.Values.Undecodable) }),
	counter("nearbus_cache_unencodable_total", "Values that the codec refused.", func(s Stats) float64 { return float64(s.Values.Unencodable) }),
	counter("nearbus_cache_untaggable_total", "Loaded values not cached because of their tags.", func(s Stats) float64 { return float64(s.Values.Untaggable) }),
	counter("nearbus_cache_too_large_total", "Values that are too large for the shared tier.", func(s Stats) float64 { return float64(s.Values.TooLarge) }),
}

var nodeMetrics = []metric[NodeStats]{
	counter("nearbus_node_applied_total", "Invalidations applied.", func(s NodeStats) float64 { return float64(s.Bus.Applied) }),
	counter("nearbus_node_unknown_caches_total", "Invalidations of caches that this node does not have.", func(s NodeStats) float64 { return float64(s.Bus.UnknownCaches) }),
	counter("nearbus_node_gaps_total", "Times that messages of the bus may have been missed.", func(s NodeStats) float64 { return float64(s.Bus.Gaps) }),
	counter("nearbus_near_flushes_total", "Times that the near tier was made invalid.", func(s NodeStats) float64 { return float64(s.Near.Flushes) }),
	counter("nearbus_node_failed_texts_total", "Plain-text messages not carried out in the shared tier.", func(s NodeStats) float64 { return float64(s.Bus.FailedTexts) }),
	gauge("nearbus_node_bus_cut", "Whether the bus cannot be heard.", func(s NodeStats) float64 { return truth(s.Bus.Cut) }),
	counter("nearbus_journal_rounds_total", "Rounds of reading the journal.", func(s NodeStats) float64 { return float64(s.Journal.Rounds) }),
	counter("nearbus_journal_failures_total", "Rounds in which a journal could not be read.", func(s NodeStats) float64 { return float64(s.Journal.Failures) }),
	counter("nearbus_node_unproven_total", "Records that came from a server which is behind.", func(s NodeStats) float64 { return float64(s.Unproven) }),
	counter("nearbus_observer_dropped_total", "Observations that the observer was not told.", func(s NodeStats) float64 { return float64(s.Observer.Dropped) }),
	counter("nearbus_observer_dropped_spans_total", "Spans that the tracer did not begin.", func(s NodeStats) float64 { return float64(s.Observer.DroppedSpans) }),
	counter("nearbus_observer_panics_total", "Panics of the observer and the tracer.", func(s NodeStats) float64 { return float64(s.Observer.Panics) }),
	counter("nearbus_journal_repaired_total", "Entries dropped of which the bus had not told.", func(s NodeStats) float64 { return float64(s.Journal.Repaired) }),
	gauge("nearbus_journal_slowest_seconds", "Longest time from when the journal was due to when it was applied.", func(s NodeStats) float64 { return s.Journal.Slowest.Seconds() }),
	counter("nearbus_journal_resets_total", "Times that the journal could not be read on.", func(s NodeStats) float64 { return float64(s.Journal.Resets) }),
	counter("nearbus_node_mismatches_total", "Times that other nodes turned out to have another shared tier or namespace.", func(s NodeStats) float64 { return float64(s.Bus.Mismatches) }),
	gauge("nearbus_node_options_differ", "Options of caches in which another node differs.", func(s NodeStats) float64 { return float64(s.Bus.OptionsDiffer) }),
	gauge("nearbus_near_entries", "Entries in the near tier.", func(s NodeStats) float64 { return float64(s.Near.Entries) }),
	gauge("nearbus_near_bytes", "Size of the near tier.", func(s NodeStats) float64 { return float64(s.Near.Bytes) }),
	gauge("nearbus_near_tag_bytes", "Size of what is known of tags.", func(s NodeStats) float64 { return float64(s.Near.TagBytes) }),
	counter("nearbus_near_evicted_total", "Entries given up for others.", func(s NodeStats) float64 { return float64(s.Near.Evicted) }),
	counter("nearbus_near_expired_total", "Entries swept out past their lifetime.", func(s NodeStats) float64 { return float64(s.Near.Expired) }),
	counter("nearbus_near_fenced_total", "Values not kept because of an invalidation while they were loaded.", func(s NodeStats) float64 { return float64(s.Near.Fenced) }),
	counter("nearbus_near_too_large_total", "Values not kept because they are too large for the near tier.", func(s NodeStats) float64 { return float64(s.Near.TooLarge) }),
	counter("nearbus_near_invalidated_total", "Entries dropped by an invalidation.", func(s NodeStats) float64 { return float64(s.Near.Invalidated) }),
	counter("nearbus_near_skipped_total", "Invalidations that found the new value.", func(s NodeStats) float64 { return float64(s.Near.Skipped) }),
	counter("nearbus_near_stale_total", "Hits that were unconfirmed for too long.", func(s NodeStats) float64 { return float64(s.Near.Stale) }),
	gauge("nearbus_near_clock_lag_seconds", "Longest time in which this process did not run.", func(s NodeStats) float64 { return s.Near.ClockLag.Seconds() }),
}

// healthMetrics are what nodeMetrics have not.
var healthMetrics = []metric[Health]{
	gauge("nearbus_node_trusted", "Whether the node can vouch for what it serves.", func(h Health) float64 { return truth(h.Trusted) }),
	gauge("nearbus_node_behind_seconds", "How long ago the node was last known to have heard of every write.", func(h Health) float64 { return h.Behind.Seconds() }),
	gauge("nearbus_node_journal_failing", "Whether the latest attempt to read the journal failed.", func(h Health) float64 { return truth(h.Journal != nil) }),
	gauge("nearbus_node_pending_invalidations", "Invalidations of all caches that could not be delivered yet.", func(h Health) float64 { return float64(h.PendingInvalidations) }),
	gauge("nearbus_node_peers_heard", "Other nodes on the bus.", func(h Health) float64 { return float64(h.Peers.Heard) }),
	gauge("nearbus_node_peers_silent", "Other nodes that fell silent within 10 minutes.", func(h Health) float64 { return float64(h.Peers.Silent) }),
	gauge("nearbus_node_peers_foreign", "Other nodes with another shared tier or namespace.", func(h Health) float64 { return float64(h.Peers.Foreign) }),
	gauge("nearbus_node_peers_other_options", "Other nodes with other options.", func(h Health) float64 { return float64(h.Peers.OtherOptions) }),
}

var tierMetrics = []metric[shared.Stats]{
	counter("nearbus_shared_corrupt_total", "Records read that are not records.", func(s shared.Stats) float64 { return float64(s.Corrupt) }),
	counter("nearbus_shared_newer_format_total", "Records read that a newer version wrote.", func(s shared.Stats) float64 { return float64(s.NewerFormat) }),
	counter("nearbus_shared_too_late_total", "Writes refused because they came after their deadline.", func(s shared.Stats) float64 { return float64(s.TooLate) }),
	counter("nearbus_shared_undecodable_total", "Records read whose compression is not known, or that are too large.", func(s shared.Stats) float64 { return float64(s.Undecodable) }),
	counter("nearbus_shared_retries_total", "Attempts beyond the first of a call.", func(s shared.Stats) float64 { return float64(s.Retries) }),
	counter("nearbus_shared_breaker_opened_total", "Times that the breaker opened.", func(s shared.Stats) float64 { return float64(s.Opened) }),
	counter("nearbus_shared_breaker_refused_total", "Calls that the breaker refused.", func(s shared.Stats) float64 { return float64(s.Refused) }),
	gauge("nearbus_shared_breaker_open", "Whether the breaker is open.", func(s shared.Stats) float64 { return truth(s.Open) }),
}

var busMetrics = []metric[bus.Stats]{
	counter("nearbus_bus_published_total", "Messages sent.", func(s bus.Stats) float64 { return float64(s.Published) }),
	counter("nearbus_bus_published_keys_total", "Invalidations sent.", func(s bus.Stats) float64 { return float64(s.PublishedKeys) }),
	counter("nearbus_bus_resent_total", "Messages sent more than once.", func(s bus.Stats) float64 { return float64(s.Resent) }),
	counter("nearbus_bus_publish_errors_total", "Messages that could not be sent.", func(s bus.Stats) float64 { return float64(s.PublishErrors) }),
	counter("nearbus_bus_received_total", "Messages received.", func(s bus.Stats) float64 { return float64(s.Received) }),
	counter("nearbus_bus_received_keys_total", "Invalidations received.", func(s bus.Stats) float64 { return float64(s.ReceivedKeys) }),
	counter("nearbus_bus_own_total", "Messages received from this process.", func(s bus.Stats) float64 { return float64(s.Own) }),
	counter("nearbus_bus_text_total", "Messages received in plain text.", func(s bus.Stats) float64 { return float64(s.Text) }),
	counter("nearbus_bus_heartbeats_total", "Heartbeats received.", func(s bus.Stats) float64 { return float64(s.Heartbeats) }),
	counter("nearbus_bus_malformed_total", "Payloads that are not messages.", func(s bus.Stats) float64 { return float64(s.Malformed) }),
	counter("nearbus_bus_ignored_text_total", "Messages in plain text that were skipped.", func(s bus.Stats) float64 { return float64(s.IgnoredText) }),
	counter("nearbus_bus_newer_total", "Messages of a newer version.", func(s bus.Stats) float64 { return float64(s.Newer) }),
	counter("nearbus_bus_gaps_total", "Times that continuity was lost.", func(s bus.Stats) float64 { return float64(s.Gaps) }),
	counter("nearbus_bus_panics_total", "Panics of the handler.", func(s bus.Stats) float64 { return float64(s.Panics) }),
	counter("nearbus_bus_holes_total", "Times that a message of another process was missing.", func(s bus.Stats) float64 { return float64(s.Holes) }),
	counter("nearbus_bus_silences_total", "Times that other processes fell silent.", func(s bus.Stats) float64 { return float64(s.Silences) }),
	gauge("nearbus_bus_connected", "Whether the subscription is confirmed.", func(s bus.Stats) float64 { return truth(s.Connected) }),
	gauge("nearbus_bus_heartbeat_interval_seconds", "Longest time to the next heartbeat.", func(s bus.Stats) float64 { return s.HeartbeatInterval.Seconds() }),
	gauge("nearbus_bus_round_trip_seconds", "Time that the latest heartbeat took.", func(s bus.Stats) float64 { return s.RoundTrip.Seconds() }),
}
