package nearcache

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/shared/driver"
)

// Inspection is what [Cache.Inspect] found out about a key. It prints as a few lines, and as
// JSON with the same in it.
type Inspection struct {
	Cache string    `json:"cache"`
	Key   string    `json:"key"`
	At    time.Time `json:"at"`

	// Outcome is what a Get without a loader would meet now, and Why says so in a sentence.
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why"`

	Near   NearInspection   `json:"near"`
	Shared SharedInspection `json:"shared"` // zero without a shared tier

	// Heard is the latest message of the bus about the key; nil if there was none among the
	// latest 1,024 invalidations that the node heard.
	Heard *HeardMessage `json:"heard,omitempty"`

	// Pending says that an earlier write of the key by this node is unconfirmed: the shared
	// tier is not read for the key.
	Pending bool `json:"pending"`
}

// Outcome is what a read would meet.
type Outcome string

// The outcomes. A read with a loader loads after a miss, and past the shared tier where it
// would be refused.
const (
	OutcomeHit       = Outcome(coherence.OutcomeHit)       // the near tier answers
	OutcomeSharedHit = Outcome(coherence.OutcomeSharedHit) // the shared tier answers
	OutcomeStale     = Outcome(coherence.OutcomeStale)     // an old value is the answer, see Options.Stale
	OutcomeMiss      = Outcome(coherence.OutcomeMiss)      // there is no value: ErrNotFound
	OutcomeRefused   = Outcome(coherence.OutcomeRefused)   // the shared tier is not read, or not believed: an error
)

// NearInspection is what the near tier of this node has of a key.
type NearInspection struct {
	// Kind is "value", "not found" for what says that the source has no value, or "none".
	Kind     string   `json:"kind"`
	Revision Revision `json:"revision,omitzero"` // zero if the value has no record

	FromShared bool `json:"fromShared,omitempty"` // it was read there, and not loaded or written by this node

	// Current is up to when every write that concerns the key is known to have been applied,
	// as Result.Age counts; zero if the entry was ended.
	Current time.Time `json:"current,omitzero"`

	// TrustedUntil is until when the entry is believed if the journal is not read any more;
	// zero without a journal.
	TrustedUntil time.Time `json:"trustedUntil,omitzero"`

	Expires   time.Time `json:"expires,omitzero"`   // of being served; zero if it was invalidated
	KeptUntil time.Time `json:"keptUntil,omitzero"` // of being kept as a stale value
	Size      int64     `json:"size,omitempty"`     // that it counts against NodeOptions.NearBytes

	Tags []TagInspection `json:"tags,omitempty"`

	// Value is the value, with InspectOptions.Values: a V, that of all callers unless
	// Options.Clone is set.
	Value any `json:"value,omitempty"`
}

// SharedInspection is what the shared tier has of a key, whatever this node knows.
type SharedInspection struct {
	Name      string `json:"name"`      // of the record, after the namespace
	Partition int    `json:"partition"` // of the journals; -1 if there are none

	// Kind is "none", "value", "not found", "tombstone", "lease", "stale" for an invalidated
	// value that is kept for those who have no other, or "foreign" for what cannot be read.
	Kind string `json:"kind"`

	// Why says what the record is to readers, as far as the shared tier alone tells.
	Why string `json:"why"`

	Revision Revision  `json:"revision,omitzero"`
	Written  time.Time `json:"written,omitzero"` // or when its load began; zero if its revision is no time
	Codec    uint8     `json:"codec,omitempty"`
	Schema   uint32    `json:"schema,omitempty"`
	Expires  time.Time `json:"expires,omitzero"` // of being live, or of being kept
	Size     int       `json:"size,omitempty"`   // as stored, in bytes

	Refreshing bool            `json:"refreshing,omitempty"` // a node is loading a newer value
	Tags       []TagInspection `json:"tags,omitempty"`

	Journal JournalInspection `json:"journal"`

	// Value is the value as this cache decodes it, with InspectOptions.Values; its bytes of
	// [InspectShared].
	Value any `json:"value,omitempty"`
}

// TagInspection is a slot of tags.
type TagInspection struct {
	Slot  uint32 `json:"slot"`
	Name  string `json:"name,omitempty"`  // of a tag in it that this node knows of; see InspectOptions.Tags
	Ended bool   `json:"ended,omitempty"` // it was invalidated since
}

// JournalInspection is what was found of a key among the newest entries of its journal.
type JournalInspection struct {
	Found    bool      `json:"found"`
	Revision Revision  `json:"revision,omitzero"`
	Written  time.Time `json:"written,omitzero"`
	Later    int       `json:"later,omitempty"` // how many entries of the journal are newer
	Searched int       `json:"searched"`        // how many entries were looked at

	// Heard is the message of the bus that told of this entry; nil if this node does not
	// remember one.
	Heard *HeardMessage `json:"heard,omitempty"`

	Error string `json:"error,omitempty"` // why the journal was not searched
}

// HeardMessage is what a message of the bus said of a key.
type HeardMessage struct {
	Op       string    `json:"op"`             // "set", "delete" or "invalidate"
	From     string    `json:"from,omitempty"` // name of the sender; empty if it was plain text
	Own      bool      `json:"own,omitempty"`  // that is this node
	At       time.Time `json:"at"`             // when it came
	Revision Revision  `json:"revision,omitzero"`
}

// Revision orders the writes of a key: numbers compare within one epoch, and begin anew, as it
// were, with the next, when the shared tier may have lost writes. It prints as "epoch/number".
type Revision driver.Revision

// String returns "epoch/number".
func (r Revision) String() string { return fmt.Sprintf("%d/%d", r.Epoch, r.Number) }

// MarshalText returns what String does.
func (r Revision) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText returns.
func (r *Revision) UnmarshalText(text []byte) error {
	epoch, number, ok := strings.Cut(string(text), "/")
	e, err1 := strconv.ParseUint(epoch, 10, 64)
	n, err2 := strconv.ParseUint(number, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("nearcache: revision %.50q: want epoch/number", text)
	}
	*r = Revision{Epoch: e, Number: n}
	return nil
}

// leastTime is the least number of a revision that is a time: the year 2000, in microseconds. A lower
// number only counts, for example that of the tombstone which a load without a result leaves.
const leastTime = 946_684_800_000_000

// written returns when a write was given this revision; zero if its store does not number by
// time, or did not number this write by it.
func (r Revision) written() time.Time {
	if r.Epoch == 0 || r.Number < leastTime || r.Number >= driver.MaxRevision {
		return time.Time{}
	}
	return time.UnixMicro(int64(r.Number))
}

// opNames are how operations of the bus are called.
var opNames = map[bus.Op]string{
	bus.OpSet: "set", bus.OpDelete: "delete", bus.OpInvalidate: "invalidate", bus.OpClear: "clear", bus.OpTag: "tag",
}

// maxShown is how much of a value the text of an Inspection has, in bytes.
const maxShown = 500

// String returns a few lines of text: the outcome, and a line for each tier and the bus.
func (i Inspection) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: %s: %s\n", i.Cache, i.Key, i.Outcome, i.Why)
	fmt.Fprintf(&b, "  near     %s\n", i.Near.text(i.At))
	if i.Shared.Name != "" {
		b.WriteString(i.Shared.text(i.At))
	}
	if h := i.Heard; h != nil {
		fmt.Fprintf(&b, "  bus      %s\n", h.text(i.At))
	}
	return b.String()
}

// String returns lines of text as those of an Inspection.
func (s SharedInspection) String() string { return s.text(time.Now()) }

func (n *NearInspection) text(now time.Time) string {
	if n.Kind == kindNone {
		return n.Kind
	}
	parts := []string{n.Kind}
	if n.Revision != (Revision{}) {
		parts = append(parts, "revision "+n.Revision.String())
	}
	if n.FromShared {
		parts = append(parts, "read from the shared tier")
	} else {
		parts = append(parts, "loaded or written here")
	}
	parts = appendTime(parts, "current as of", "current as of", n.Current, now)
	parts = appendTime(parts, "loses trust", "lost trust", n.TrustedUntil, now)
	parts = appendTime(parts, "expires", "expired", n.Expires, now)
	parts = appendTime(parts, "goes", "went", n.KeptUntil, now)
	parts = append(parts, fmt.Sprintf("%d bytes", n.Size))
	parts = appendTags(parts, n.Tags)
	return strings.Join(appendValue(parts, n.Value), ", ")
}

func (s *SharedInspection) text(now time.Time) string {
	parts := []string{s.Kind}
	if s.Revision != (Revision{}) {
		parts = append(parts, "revision "+s.Revision.String())
	}
	parts = appendTime(parts, "written", "written", s.Written, now)
	if s.Size > 0 {
		parts = append(parts, fmt.Sprintf("codec %d, schema %d", s.Codec, s.Schema))
		parts = appendTime(parts, "expires", "expired", s.Expires, now)
		parts = append(parts, fmt.Sprintf("%d bytes", s.Size))
	}
	if s.Refreshing {
		parts = append(parts, "being refreshed")
	}
	parts = appendValue(appendTags(parts, s.Tags), s.Value)
	return fmt.Sprintf("  shared   %s\n  record   %s\n  journal  %s\n", strings.Join(parts, ", "), s.record(), s.Journal.text(now))
}

// record says where the record is, and what it is to readers.
func (s *SharedInspection) record() string {
	if s.Partition < 0 {
		return fmt.Sprintf("%q: %s", s.Name, s.Why)
	}
	return fmt.Sprintf("%q in partition %d: %s", s.Name, s.Partition, s.Why)
}

func (j *JournalInspection) text(now time.Time) string {
	switch {
	case j.Error != "":
		return j.Error
	case !j.Found:
		return fmt.Sprintf("no entry among the newest %d", j.Searched)
	}
	parts := appendTime([]string{fmt.Sprintf("revision %v", j.Revision)}, "written", "written", j.Written, now)
	parts = append(parts, fmt.Sprintf("newer entries: %d", j.Later))
	if j.Heard != nil {
		parts = append(parts, "told by "+j.Heard.text(now))
	}
	return strings.Join(parts, ", ")
}

func (h *HeardMessage) text(now time.Time) string {
	from := fmt.Sprintf("%q", h.From)
	switch {
	case h.Own:
		from = "this node"
	case h.From == "":
		from = "a message in plain text"
	}
	return fmt.Sprintf("%s (%s), heard %s", from, h.Op, relative(h.At, now))
}

func appendTime(parts []string, future, past string, at, now time.Time) []string {
	switch {
	case at.IsZero():
		return parts
	case at.After(now):
		return append(parts, future+" "+relative(at, now))
	}
	return append(parts, past+" "+relative(at, now))
}

// relative returns how far at is from now, as people read it.
func relative(at, now time.Time) string {
	d, coarse := at.Sub(now), time.Second
	if d.Abs() < time.Minute {
		coarse = 100 * time.Millisecond
	}
	switch d = d.Round(coarse); {
	case d > 0:
		return "in " + d.String()
	case d < 0:
		return (-d).String() + " ago"
	}
	return "now"
}

func appendTags(parts []string, tags []TagInspection) []string {
	for _, tag := range tags {
		text := fmt.Sprintf("tag slot %d", tag.Slot)
		if tag.Name != "" {
			text += fmt.Sprintf(" (%q)", tag.Name)
		}
		if tag.Ended {
			text += " invalidated since"
		}
		parts = append(parts, text)
	}
	return parts
}

func appendValue(parts []string, value any) []string {
	if value == nil {
		return parts
	}
	text := fmt.Sprintf("%+v", value)
	if b, ok := value.([]byte); ok {
		text = fmt.Sprintf("%q", b[:min(len(b), maxShown)])
	}
	if len(text) > maxShown {
		text = text[:maxShown] + "..."
	}
	return append(parts, "value "+text)
}
