package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/topk"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// InspectOptions say what [Cache.Inspect] looks for. The zero value shows no values.
type InspectOptions struct {
	// Journal is how many of the newest entries of the journal are searched for the key.
	// Zero means 1,000, the most is 10,000; a negative number searches none.
	Journal int

	// Values has the values in the result.
	Values bool

	// Tags are names to be shown beside the slots that they are in, at most 1,024. The
	// records of values have no names of tags. Those that Options.Tags gives are shown in
	// any case.
	Tags []string
}

const (
	defaultSearch = 1000
	longestSearch = 10_000
	maxTagNames   = 1024
)

func (o *InspectOptions) validate() error {
	switch {
	case o.Journal > longestSearch:
		return fmt.Errorf("nearcache: InspectOptions.Journal is %d, more than %d", o.Journal, longestSearch)
	case len(o.Tags) > maxTagNames:
		return fmt.Errorf("nearcache: InspectOptions.Tags are %d, more than %d", len(o.Tags), maxTagNames)
	}
	return nil
}

// depth returns how many entries of the journal are searched.
func (o *InspectOptions) depth() int { return max(0, cmp.Or(o.Journal, defaultSearch)) }

// Inspect says what this node and the shared tier have of a key, and what a read would meet
// and why. It changes nothing: no value moves, no read, hit or record is counted, no lease is
// asked for, and nothing that it reads in the shared tier comes near. It takes two or three
// round trips to the shared tier, past the breaker, and is for people and for tests, not for
// programs that decide on what it says.
//
// That the shared tier cannot be read is no error, but part of the result. The error is that
// of an option, [ErrInvalidKey], or [ErrClosed].
func (c *Cache[V]) Inspect(ctx context.Context, key string, opts InspectOptions) (Inspection, error) {
	return c.look(ctx, key, &opts)
}

// Inspect is [Cache.Inspect] for the cache of a name.
func (n *Node) Inspect(ctx context.Context, cache, key string, opts InspectOptions) (Inspection, error) {
	b, err := n.cache("Inspect", cache)
	if err != nil {
		return Inspection{}, err
	}
	return b.look(ctx, key, &opts)
}

// InspectShared says what a shared tier has of a key of the cache of a name: the half of
// [Cache.Inspect] that needs no node and no type, for programs that are none of the fleet.
// It takes two or three round trips and writes nothing. The error is that of an option or of
// the shared tier, or [ErrInvalidKey].
func InspectShared(ctx context.Context, tier *shared.Tier, cache, key string, opts InspectOptions) (SharedInspection, error) {
	if err := cmp.Or(checkName(cache), opts.validate()); err != nil {
		return SharedInspection{}, err
	}
	stored, err := coherence.LookUp(ctx, tier.Records(), cache, key, opts.depth())
	if err != nil {
		return SharedInspection{}, fmt.Errorf("nearcache: cache %q: %w", cache, err)
	}
	s := sharedInspection(stored, tagNames(opts.Tags))
	if opts.Values && stored.Record.Value != nil {
		s.Value = stored.Record.Value
	}
	return s, nil
}

// CostlyKeys are the keys of a cache that cost this node most, the costliest first, at most 20
// of each kind.
type CostlyKeys struct {
	Since time.Time `json:"since"` // what was counted before this is forgotten; see [Cache.CostlyKeys]

	Misses        []KeyCount `json:"misses"`        // reads that the near tier did not answer
	Loads         []KeyCount `json:"loads"`         // that a loader was asked for
	Invalidations []KeyCount `json:"invalidations"` // sets, deletes and invalidations, of this node or heard of
}

// KeyCount says how often something happened to a key.
type KeyCount struct {
	Key     string `json:"key"`
	AtLeast uint64 `json:"atLeast"`
	AtMost  uint64 `json:"atMost"`
}

// CostlyKeys returns the keys that this node has missed, loaded and heard invalidated most
// often, within the last five to ten minutes. Each key that makes up more than a 64th of all
// that happened is among those that are counted, however many there are. Counting costs a hit
// nothing, and a miss, a load or an invalidation up to 0.2 µs. It takes 6 KB for each kind,
// and room for 128 keys.
func (c *Cache[V]) CostlyKeys() CostlyKeys { return c.costlyKeys() }

// CostlyKeys is [Cache.CostlyKeys] for the cache of a name.
func (n *Node) CostlyKeys(cache string) (CostlyKeys, error) {
	b, err := n.cache("CostlyKeys", cache)
	if err != nil {
		return CostlyKeys{}, err
	}
	return b.costlyKeys(), nil
}

func (b *base) costlyKeys() CostlyKeys {
	now, costs := b.node.Near.Now(), &b.keys.Costs
	return CostlyKeys{
		Since:  time.Now().Add(-topk.Longest),
		Misses: keyCounts(costs.Misses.Top(now)), Loads: keyCounts(costs.Loads.Top(now)),
		Invalidations: keyCounts(costs.Ended.Top(now)),
	}
}

func keyCounts(top []topk.Count) []KeyCount {
	counts := make([]KeyCount, len(top))
	for i, c := range top {
		counts[i] = KeyCount(c)
	}
	return counts
}

// JournalPosition is how far a node has read the journal of one partition of the shared tier.
type JournalPosition struct {
	Partition int       `json:"partition"`
	Applied   Revision  `json:"applied,omitzero"` // the latest entry that was applied
	Known     Revision  `json:"known,omitzero"`   // the latest write that the node has heard of; higher than Applied while that is not read
	Read      time.Time `json:"read,omitzero"`    // when the latest read to its end began; zero if there was none
}

// Journals returns how far the node has read each journal of the shared tier, by partition;
// none if that keeps none.
func (n *Node) Journals() []JournalPosition {
	states, now := n.core.JournalStates(), time.Now()
	all := make([]JournalPosition, len(states))
	for i, s := range states {
		all[i] = JournalPosition{Partition: s.Partition, Applied: Revision(s.Applied), Known: Revision(s.Known)}
		if s.Behind >= 0 {
			all[i].Read = now.Add(-s.Behind)
		}
	}
	return all
}

// cache returns the cache of a name, for a method.
func (n *Node) cache(method, name string) (*base, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.caches[name]
	if b == nil {
		return nil, fmt.Errorf("nearcache: %s: the node has no cache %.70q", method, name)
	}
	return b, nil
}

// typed is what only who knows the type of the values can say of them. Nothing is counted or
// logged.
type typed interface {
	nearValue(e *near.Entry) (v any, tags []string)
	storedValue(key string, found *shared.Found) (v any, tags []string, err error)
}

// nearValue implements typed.
func (c *values[V]) nearValue(e *near.Entry) (any, []string) {
	v := entryOf[V](e).value
	if clone := c.with.Clone; clone != nil {
		if quietly(func() error { v = clone(v); return nil }) != nil {
			return nil, nil
		}
	}
	return v, c.tagsOf(e.Key(), v)
}

// storedValue implements typed.
func (c *values[V]) storedValue(key string, found *shared.Found) (any, []string, error) {
	codec := c.opts.reader(&found.Record)
	if codec == nil {
		return nil, nil, coherence.ErrUnusable
	}
	var v V
	if err := quietly(func() error { return codec.Unmarshal(found.Value, &v) }); err != nil {
		return nil, nil, err
	}
	return v, c.tagsOf(key, v), nil
}

func (c *values[V]) tagsOf(key string, v V) (tags []string) {
	if c.with.Tags != nil {
		_ = quietly(func() error { tags = c.with.Tags(key, v); return nil })
	}
	return tags
}

// quietly is guard that tells nobody.
func quietly(f func() error) error { return guard("", "", func(*PanicError) {}, f) }

// tagNames returns the names of tags by their slots.
func tagNames(tags []string) map[uint32]string {
	names := make(map[uint32]string, len(tags))
	for _, tag := range tags {
		names[generation.SlotOf(tag)] = tag
	}
	return names
}

// look is Inspect.
func (b *base) look(ctx context.Context, key string, opts *InspectOptions) (Inspection, error) {
	if err := opts.validate(); err != nil {
		return Inspection{}, err
	}
	hash := b.keys.Space.Hash(key)
	seen := b.keys.Space.Peek(key, hash) // before the rest: what is near now survived all that is known by now
	names := tagNames(opts.Tags)
	i := Inspection{Cache: b.keys.Name, Key: key, At: time.Now()}
	i.Near = b.nearInspection(key, &seen, names, opts.Values, i.At)
	sight, err := b.keys.Look(ctx, key, hash, opts.depth())
	if err != nil {
		return Inspection{}, err
	}
	i.Pending, i.Heard = sight.Pending, heardMessage(b.keys.HeardOfKey(hash, driver.Revision{}))
	var decode error
	if stored := sight.Stored; stored != nil {
		var v any
		var tags []string
		if stored.Record.Kind == driver.KindValue && stored.Fate != coherence.FatePacked || stored.Fate == coherence.FateKept {
			v, tags, decode = b.typed.storedValue(key, &stored.Record)
		}
		for _, tag := range tags {
			names[generation.SlotOf(tag)] = tag
		}
		i.Shared = sharedInspection(stored, names)
		if opts.Values {
			i.Shared.Value = v
		}
		if newest := stored.Trail.Newest; newest != nil {
			i.Shared.Journal.Heard = heardMessage(b.keys.HeardOfKey(hash, newest.Revision))
		}
	}
	verdict := b.keys.Verdict(&seen, &sight, coherence.Reading{
		HeedsAbsence: b.opts.NotFoundTTL > 0, Unreadable: errors.Is(decode, coherence.ErrUnusable), Refused: decode != nil,
	})
	i.Outcome, i.Why = Outcome(verdict.Outcome), verdict.Why
	if by := heardMessage(verdict.By); by != nil {
		i.Why += ", as was told by " + by.text(i.At)
	}
	return i, nil
}

// nearInspection describes what is near.
func (b *base) nearInspection(key string, seen *near.Peek, names map[uint32]string, values bool, at time.Time) NearInspection {
	e := seen.Entry
	if e == nil {
		return NearInspection{Kind: kindNone}
	}
	now := b.node.Near.Now()
	wall := func(t int64) time.Time { // zero for no time, and for one that never comes
		if t <= 0 || t == math.MaxInt64 {
			return time.Time{}
		}
		return at.Add(time.Duration(t - now))
	}
	n := NearInspection{
		Kind: kindValue, Revision: Revision(e.Revision), FromShared: e.FromShared, Size: e.Cost(),
		TrustedUntil: wall(seen.Trusted), Expires: wall(seen.Until), KeptUntil: wall(seen.Kept),
	}
	if !seen.Ended && seen.Until > 0 {
		n.Current = wall(min(now, max(e.Stamp.At(), b.keys.Horizon(key))))
	}
	if x := e.Extra(); x != nil && x.Absent {
		n.Kind = kindNotFound
	} else if v, tags := b.typed.nearValue(e); values || tags != nil {
		for _, tag := range tags {
			names[generation.SlotOf(tag)] = tag
		}
		if values {
			n.Value = v
		}
	}
	for _, slot := range e.Slots() {
		n.Tags = append(n.Tags, TagInspection{Slot: slot, Name: names[slot], Ended: b.keys.Space.Ended(e, slot)})
	}
	return n
}

// The kinds of entries and records.
const (
	kindNone     = "none"
	kindValue    = "value"
	kindNotFound = "not found"
)

var recordKinds = map[driver.Kind]string{
	0: kindNone, driver.KindValue: kindValue, driver.KindNotFound: kindNotFound, driver.KindTombstone: "tombstone",
	driver.KindLease: "lease", driver.KindStale: "stale", driver.KindWatermark: "foreign",
}

// sharedInspection describes what is stored.
func sharedInspection(stored *coherence.Stored, names map[uint32]string) SharedInspection {
	r, trail := &stored.Record, &stored.Trail
	s := SharedInspection{
		Name: stored.Name, Partition: stored.Partition, Kind: recordKinds[r.Kind], Why: stored.Fate.String(),
		Revision: Revision(r.Revision), Written: Revision(r.Revision).written(),
		Codec: r.Codec, Schema: r.Schema, Size: r.Size, Refreshing: stored.Refreshing,
	}
	if r.Left != 0 {
		s.Expires = time.Now().Add(r.Left)
	}
	switch stored.Fate {
	case coherence.FateForeign, coherence.FateNewer:
		s.Kind = "foreign"
	case coherence.FateTagged:
		s.Why = fmt.Sprintf("%s: slot %d", s.Why, stored.Slot)
	}
	for n, slot := range r.Slots {
		tag := TagInspection{Slot: slot, Name: names[slot]}
		if n < len(stored.Watermarks) {
			tag.Ended = stored.Watermarks[n] == 0 || stored.Watermarks[n] > r.TagClock
		}
		s.Tags = append(s.Tags, tag)
	}
	s.Journal.Searched = trail.Searched
	if trail.Err != nil {
		s.Journal.Error = trail.Err.Error()
	} else if stored.Partition < 0 {
		s.Journal.Error = driver.ErrNoJournal.Error()
	}
	if e := trail.Newest; e != nil {
		s.Journal.Found, s.Journal.Later = true, trail.Later
		s.Journal.Revision, s.Journal.Written = Revision(e.Revision), Revision(e.Revision).written()
	}
	return s
}

func heardMessage(h *coherence.Heard) *HeardMessage {
	if h == nil {
		return nil
	}
	return &HeardMessage{Op: opNames[h.Op], From: h.From, Own: h.Own, At: h.At, Revision: Revision(h.Revision)}
}
