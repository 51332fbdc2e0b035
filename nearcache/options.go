package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/shared"
)

// NodeOptions configure a [Node]. The zero value is the production default. No duration
// is longer than [shared.MaxDuration], 100 years.
type NodeOptions struct {
	// NearBytes bounds what the near tier of this node takes of the heap, all caches
	// together: values, as Options.Cost counts or samples of them tell, keys, and what the
	// tier needs itself. Garbage that the collector has not freed yet comes on top, as
	// for everything in Go. Zero means 64 MiB, or an eighth of GOMEMLIMIT if that is set and less;
	// the least is 64 KiB. A value larger than a quarter of it, or than 4 GiB, is not kept
	// near. [Node.SetNearBytes] changes it.
	//
	// What the node knows of the tags of its caches counts as well: 1.1 MB for a cache with
	// all of its 65,536 slots of tags in use, 40 to 120 bytes for each of up to 10,000
	// tags, and 56 for an invalidation that the journal has not told of. It may take half.
	// Beyond that, the node forgets, reads again what it forgot, and ends more values near
	// than it has to. It serves nothing that was ended.
	NearBytes int64

	// JournalInterval is how often the journal of the shared tier is read, for
	// what the bus did not bring. With a shared tier that answers, no value is
	// served that is older than an acknowledged write by more than this and the
	// time of one read. Zero means 1 s; the least is 10 ms. Shared tiers without a
	// journal do not use it.
	JournalInterval time.Duration

	// MaxStaleness is how long a value may be served from the near tier while
	// this node cannot hear of writes: the journal cannot be read, or, without
	// one, the bus cannot be heard. A value that was loaded while the shared
	// tier was down is kept no longer. Zero means 2 s, or twice JournalInterval if
	// that is longer. It must be longer than JournalInterval.
	//
	// While the shared tier is away, each node loads each key that is read about once
	// in MaxStaleness.
	//
	// When the journal was not read for that long, or not since a call failed
	// because the server was away, what is read from the shared
	// tier is not believed either: its server may have lost writes, or be no
	// primary any more. Reads then wait for one attempt to read the journal, for
	// two fifths of MaxStaleness at most, and go to the source if it fails.
	MaxStaleness time.Duration

	// SharedPatience is how long the shared tier may answer nothing at all before reads with a
	// loader go to the source, as if it had failed, instead of waiting for [shared.Options.Timeout].
	// Until it answers again, such a read does not ask it, but for one at a time. Writes, and
	// reads without a loader, wait. What is loaded meanwhile is kept near for MaxStaleness
	// at most and not stored. Zero means four times what the slowest calls usually take,
	// and at least 60 ms. A server that is slow, and answers one call after the other, is
	// waited for; so is one of several servers. Without a journal, as on Memcached, all reads wait
	// for shared.Options.Timeout: nothing would tell an older record, which is read next, from
	// what was loaded.
	SharedPatience time.Duration

	// ServeStale serves values for their near TTL, and what the shared tier
	// has, although the journal cannot be read, and counts that, instead of
	// keeping to MaxStaleness. That the journal was not read yet is no reason: what
	// the shared tier has waits for the first attempt as it does otherwise.
	ServeStale bool

	// AuditRate is how many entries of the near tier the node compares with the
	// shared tier in a second, at most 10,000, to measure how consistent it is:
	// see [Node.Consistency]. Zero means none.
	AuditRate int

	// Logger receives what no caller is there to be told: that the bus, the journal or,
	// without one, the shared tier was lost, that it refuses to store, that loads fail while
	// old values are given, and for how long; why the near tier was flushed; a failed
	// background write; the first of each cache of what goes on unseen otherwise: a panic, a
	// value too large, a record that cannot be read. No value and no password is in it. Nil
	// means nothing is logged.
	Logger *slog.Logger

	// Observer is told what the node does and what happens to it: see [Observation]. It is
	// called on a goroutine of its own, one observation at a time, and never for what the
	// near tier answers. Nothing waits for it: while 4,096 observations wait, what else there
	// is to tell is dropped and counted in NodeStats.Observer, and so is a panic. Close hands
	// over what waits, for up to 500 ms. Nil means that nobody is told.
	Observer func(Observation)

	// Tracer begins a span for a read that the near tier did not answer, and for each call of
	// a loader. It returns the context for what happens inside, made of the one it was given,
	// which the loader gets, and what is called once when the span ends, or nil. Values come from the context of the
	// caller; nobody else's end or deadline is in them.
	//
	// A span needs the context when it begins, so the node waits for Tracer, unlike for
	// Observer, but for 50 ms at most, on another goroutine; while a call has not returned for
	// which it waited in vain, there are no spans. What was left out is counted in
	// NodeStats.Observer, and so is a panic. Nil means that there are no spans.
	Tracer func(ctx context.Context, s Span) (context.Context, func(SpanEnd))

	// Background has the values, and no more, of the contexts of what the node does by itself,
	// for no caller: it reads the journal, compares the tier with that of others, delivers
	// what is pending, carries out messages in plain text, and audits. A tracer of the client
	// can tell them by it. Its end and its deadline mean nothing. Nil means no values.
	Background context.Context
}

func (o NodeOptions) withDefaults() NodeOptions {
	o.NearBytes = cmp.Or(o.NearBytes, nearBytes())
	o.JournalInterval = cmp.Or(o.JournalInterval, time.Second)
	o.MaxStaleness = cmp.Or(o.MaxStaleness, max(2*time.Second, 2*min(o.JournalInterval, shared.MaxDuration/2)))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Background == nil {
		o.Background = context.Background()
	}
	return o
}

func (o NodeOptions) validate() error {
	if o.NearBytes < 0 || o.NearBytes > 0 && o.NearBytes < leastNearBytes {
		return fmt.Errorf("nearcache: NodeOptions.NearBytes is %d, less than 64 KiB", o.NearBytes)
	}
	if o.AuditRate < 0 || o.AuditRate > coherence.MaxAuditRate {
		return fmt.Errorf("nearcache: NodeOptions.AuditRate is %d, not in 0 to %d", o.AuditRate, coherence.MaxAuditRate)
	}
	if o.MaxStaleness < 0 {
		return fmt.Errorf("nearcache: NodeOptions.MaxStaleness is negative: %v", o.MaxStaleness)
	}
	if o.SharedPatience < 0 {
		return fmt.Errorf("nearcache: NodeOptions.SharedPatience is negative: %v", o.SharedPatience)
	}
	for _, f := range []duration{
		{"JournalInterval", o.JournalInterval}, {"MaxStaleness", o.MaxStaleness}, {"SharedPatience", o.SharedPatience},
	} {
		if err := f.tooLong("NodeOptions"); err != nil {
			return err
		}
	}
	if o.JournalInterval < 0 || o.JournalInterval > 0 && o.JournalInterval < journal.Pause {
		return fmt.Errorf("nearcache: NodeOptions.JournalInterval is %v, less than %v", o.JournalInterval, journal.Pause)
	}
	if o = o.withDefaults(); o.MaxStaleness <= o.JournalInterval {
		return fmt.Errorf("nearcache: NodeOptions.MaxStaleness %v is not longer than JournalInterval %v", o.MaxStaleness, o.JournalInterval)
	}
	return nil
}

// Options configure a [Cache]. The zero value is the production default. No duration is
// longer than [shared.MaxDuration], 100 years.
type Options[V any] struct {
	// Loader loads what neither tier has, for Get and Read, and for GetMany unless there is a
	// BatchLoader, a call for each key. [ValueLoader] makes one of a function that returns
	// values. Fetch and its like take another one for a call. Nil means that Get does not load.
	Loader Loader[V]

	// BatchLoader loads several keys in one call, for GetMany, and for Get and Read if there
	// is no Loader. Nil means that there is none.
	BatchLoader BatchLoader[V]

	// TTL is how long a value lives in the shared tier. Zero means 5 min.
	TTL time.Duration

	// NearTTL is how long a value may be served from the near tier; a value
	// never outlives its record in the shared tier, and it is an error if this is
	// longer than TTL. Zero means TTL, or, for a node without a bus, the smaller of
	// TTL and 5 s: it is then the bound on how old an answer may be.
	NearTTL time.Duration

	// LoadTimeout bounds one call of a loader: its context ends then. Zero
	// means 30 s.
	LoadTimeout time.Duration

	// NotFoundTTL is how long both tiers remember that the source has no value:
	// a loader returned [ErrNotFound], or one of several keys left it out.
	// Until then reads of the key return ErrNotFound and load nothing; any write
	// of the key ends it. Zero means that it is not remembered.
	NotFoundTTL time.Duration

	// TTLJitter cuts each lifetime by up to this share at random, so that what
	// was stored together does not end together: 0.1 makes TTLs of 10 min
	// between 9 and 10. Zero means that it does not. It is at most 0.9.
	TTLJitter float64

	// Stale keeps values past their TTL for those who cannot get another. The zero value keeps
	// nothing.
	Stale Stale

	// RefreshAhead is how long before the end of its TTL a value is refreshed
	// when it is read, in the background: one node of the fleet loads, and the
	// old value is served until the new one is there. Zero means that the first
	// reader after the end waits. It is shorter than TTL. A value that lives shorter
	// than TTL, by its Entry or by TTLJitter, is refreshed in the second half of its
	// life at the earliest, or later than the share of its life that this leaves of TTL.
	// Its record tells the other nodes, as Entry.NearTTL does.
	RefreshAhead time.Duration

	// MaxConcurrentLoads is how many calls of loaders of this cache run at a time on this
	// node; one call for several keys is one. Others wait, for LoadTimeout at
	// most. A loader that was left behind after its LoadTimeout counts until it
	// returns. A loader must not ask for another load of the same cache then:
	// it may wait for itself. Zero means that there is no limit.
	MaxConcurrentLoads int

	// SourceLag is how far what loaders read may be behind: a replica of the database,
	// for one. What is loaded within that time of the newest invalidation of its key
	// that the shared tier knows of, by the clock of its server, may be from before it,
	// and lives in both tiers for no longer than this; so does that there is no value.
	// What is known is what [SinceInvalidated] says, which counts a [Cache.Refresh], and which
	// loaded tags were invalidated. It is at most shared.Options.TombstoneTTL, for which an invalidation
	// is known. If a process dies while it loads, it is known for
	// shared.Options.LeaseTTL. It needs a shared tier. Zero means that loaders see every
	// write at once.
	SourceLag time.Duration

	// Tags returns the tags of a value, beside those of its [Entry], however it
	// comes into the cache: by Set, by Fetch or with others. Without it, only
	// what is stored as an Entry has tags. It must not block, may be called from
	// many goroutines, and must give a value the same tags on all nodes. Where it
	// panics, a write is refused and a loaded value is not cached. Nil means that
	// there are no more.
	Tags func(key string, v V) []string

	// Codec turns values into bytes for the shared tier. Nil means
	// [shared.JSON].
	Codec shared.Codec

	// ReadCodecs are codecs whose records are read as well, while a fleet changes
	// from one to another: every process learns to read the new one first, then
	// they begin to write it. Records of any other codec read as misses and are
	// counted.
	ReadCodecs []shared.Codec

	// SchemaVersion is the version of the type of the values. Records of another one
	// read as misses and are counted: raise it when the codec would read old
	// records, and get them wrong. While old and new processes are up, each
	// replaces what the other stored.
	SchemaVersion uint32

	// Cost returns what a value takes of the heap beside the V itself, in bytes: of a
	// string its length. Negative means 0. It must not block and may be called from many
	// goroutines. A value for which it panics is not kept near.
	//
	// Nil means that the cache estimates it by the length of the encoded value and by samples:
	// the first values of about a length, and then one in 64, are decoded once more
	// and walked through. What several values point to counts for each. Values whose
	// length says little of their size, as if they were often of another shape, need a Cost:
	// CacheInfo.Sizes says how good the estimate is, and a log line that it is not.
	Cost func(V) int64

	// ErrorsAsMisses makes Get, and Read without a loader, return ErrNotFound
	// where the shared tier failed; GetMany leaves the key out. The failure is
	// counted either way.
	ErrorsAsMisses bool

	// Clone returns a deep copy of a value. With it, every caller has a value of
	// its own, which it may change, and Set keeps a copy of what it was given; a
	// loader gives its value away. A panic becomes a [PanicError] of the call.
	// Nil means that callers share values and must not change what they point
	// to. It may be called from many goroutines at once, also for one value.
	Clone func(V) V
}

// Stale says how values are served that are past their TTL, or invalidated: the loader failed,
// or the shared tier did and there is no loader, or Timeout passed. Deleted and cleared values
// are never kept, nor, without Tags, those that a tag has ended. Such an answer is stale and counted as that (Stats.Reads.Stale); it is outside
// of what the cache guarantees otherwise, except that no node gives one after it gave a newer
// value. Get and Fetch do not tell; [Cache.Read] tells by Result.Stale.
type Stale struct {
	// For is how long past its TTL a value is kept. Zero means that nothing is kept. It
	// must be the same on all nodes.
	For time.Duration

	// Tags keeps values past the invalidation of one of their tags as well, in the shared tier:
	// InvalidateTags is soft then, as Invalidate is. Without it, such values are never given
	// again. It needs For, and should be the same on all nodes: a node without it replaces what
	// the others would keep.
	Tags bool

	// RetryAfter is how long after a failure the old value of a key is given at once, without
	// another attempt. Zero means 1 s, if For is set at all.
	RetryAfter time.Duration

	// Timeout is how long a caller who could have an old value waits for a newer one, from the
	// shared tier or the loader. The load goes on, and its value is stored. Zero means for as
	// long as it takes. It needs For, and is shorter than LoadTimeout, at which a load fails.
	Timeout time.Duration
}

// plain are the options of a cache that do not depend on the type of its values. The fields
// are those of Options.
type plain struct {
	TTL, NearTTL, LoadTimeout, NotFoundTTL time.Duration
	RefreshAhead, SourceLag                time.Duration
	Stale                                  Stale

	TTLJitter          float64
	MaxConcurrentLoads int
	Codec              shared.Codec
	ReadCodecs         []shared.Codec
	SchemaVersion      uint32
	ErrorsAsMisses     bool

	loader, batchLoader, tags, cost, clone bool // whether they are set
}

// plain returns what does not depend on V.
func (o *Options[V]) plain() plain {
	return plain{
		TTL: o.TTL, NearTTL: o.NearTTL, LoadTimeout: o.LoadTimeout, NotFoundTTL: o.NotFoundTTL,
		RefreshAhead: o.RefreshAhead, SourceLag: o.SourceLag, Stale: o.Stale,
		TTLJitter: o.TTLJitter, MaxConcurrentLoads: o.MaxConcurrentLoads,
		Codec: o.Codec, ReadCodecs: o.ReadCodecs, SchemaVersion: o.SchemaVersion, ErrorsAsMisses: o.ErrorsAsMisses,
		loader: o.Loader != nil, batchLoader: o.BatchLoader != nil, tags: o.Tags != nil, cost: o.Cost != nil, clone: o.Clone != nil,
	}
}

// CacheSettings are the options of a cache that are in force, with all defaults set. The fields
// are those of [Options]; of codecs it has their IDs, and of functions whether they are set.
type CacheSettings struct {
	TTL, NearTTL, LoadTimeout, NotFoundTTL time.Duration
	RefreshAhead, SourceLag                time.Duration
	Stale                                  Stale

	TTLJitter          float64
	MaxConcurrentLoads int
	Codec              uint8
	ReadCodecs         []uint8
	SchemaVersion      uint32
	ErrorsAsMisses     bool

	Loader, BatchLoader, Tags, Cost, Clone bool
}

// inForce returns the options for others.
func (o *plain) inForce() CacheSettings {
	s := CacheSettings{
		TTL: o.TTL, NearTTL: o.NearTTL, LoadTimeout: o.LoadTimeout, NotFoundTTL: o.NotFoundTTL,
		RefreshAhead: o.RefreshAhead, SourceLag: o.SourceLag, Stale: o.Stale,
		TTLJitter: o.TTLJitter, MaxConcurrentLoads: o.MaxConcurrentLoads,
		Codec: o.Codec.ID(), SchemaVersion: o.SchemaVersion, ErrorsAsMisses: o.ErrorsAsMisses,
		Loader: o.loader, BatchLoader: o.batchLoader, Tags: o.tags, Cost: o.cost, Clone: o.clone,
	}
	for _, codec := range o.ReadCodecs {
		s.ReadCodecs = append(s.ReadCodecs, codec.ID())
	}
	return s
}

// shortTTL is the near TTL of a node that no invalidation reaches.
const shortTTL = 5 * time.Second

func (o plain) withDefaults(hasBus bool) plain {
	o.TTL = cmp.Or(o.TTL, 5*time.Minute)
	if o.NearTTL == 0 {
		o.NearTTL = o.TTL
		if !hasBus {
			o.NearTTL = min(o.TTL, shortTTL)
		}
	}
	o.LoadTimeout = cmp.Or(o.LoadTimeout, 30*time.Second)
	if o.Stale.For > 0 {
		o.Stale.RetryAfter = cmp.Or(o.Stale.RetryAfter, shortThrottle)
	}
	if o.Codec == nil {
		o.Codec = shared.JSON
	}
	o.ReadCodecs = slices.Clone(o.ReadCodecs)
	return o
}

func (o *plain) validate() error {
	for _, f := range []duration{{"TTL", o.TTL}, {"NearTTL", o.NearTTL}, {"LoadTimeout", o.LoadTimeout}} {
		if f.value < 0 {
			return fmt.Errorf("nearcache: Options.%s is negative: %v", f.name, f.value)
		}
		if err := f.tooLong("Options"); err != nil {
			return err
		}
	}
	if o.TTL > 0 && o.NearTTL > o.TTL {
		return fmt.Errorf("nearcache: Options.NearTTL %v is longer than Options.TTL %v", o.NearTTL, o.TTL)
	}
	if err := errors.Join(o.validateLoads(), o.validateStale()); err != nil {
		return err
	}
	return o.validateCodecs()
}

// maxJitter leaves lifetimes something.
const maxJitter = 0.9

// validateLoads checks the options of what loaders return and how many run.
func (o *plain) validateLoads() error {
	if o.NotFoundTTL < 0 {
		return fmt.Errorf("nearcache: Options.NotFoundTTL is negative: %v", o.NotFoundTTL)
	}
	if err := (duration{"NotFoundTTL", o.NotFoundTTL}).tooLong("Options"); err != nil {
		return err
	}
	if o.SourceLag < 0 {
		return fmt.Errorf("nearcache: Options.SourceLag is negative: %v", o.SourceLag)
	}
	if err := (duration{"SourceLag", o.SourceLag}).tooLong("Options"); err != nil {
		return err
	}
	if !(o.TTLJitter >= 0 && o.TTLJitter <= maxJitter) { // not a number is out of range, too
		return fmt.Errorf("nearcache: Options.TTLJitter is %v, not in 0 to %v", o.TTLJitter, maxJitter)
	}
	if o.MaxConcurrentLoads < 0 {
		return fmt.Errorf("nearcache: Options.MaxConcurrentLoads is negative: %d", o.MaxConcurrentLoads)
	}
	return nil
}

// Entry is a value with what differs from the options of its cache.
type Entry[V any] struct {
	Value V

	// TTL and NearTTL are as in [Options]; zero means as the cache has it. Both hold on
	// all nodes: the record of a value has a NearTTL that is not zero, in milliseconds,
	// rounded up. A node that does not know of that, of a version before, reads such a
	// record as a miss and leaves it. What is
	// negative or longer than [shared.MaxDuration] is an error of the write or the load.
	TTL, NearTTL time.Duration

	// Tags name groups that the value belongs to, such as "org:7", and that
	// [Cache.InvalidateTags] ends together. There may be 64 of them, each of 1 to
	// 256 bytes of any kind, those of Options.Tags included. A write with others
	// is refused with [ErrInvalidTag]; a loaded value is given to those who wait
	// for it, cached nowhere, and counted in Stats.Values.Untaggable.
	Tags []string
}

// Loaded is what a [Loader] returns: a value with what differs from the options of its cache,
// as in [Entry], and what only a loader can say.
type Loaded[V any] struct {
	Value        V
	TTL, NearTTL time.Duration // as in Entry
	Tags         []string      // as in Entry

	// NoStore has the value given to those who wait for it and stored nowhere.
	NoStore bool

	// NotModified says that the value is still the old one that the loader was given; Value
	// is ignored. Lifetimes and tags are what this says. Without an old value it is an error.
	NotModified bool
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("nearcache: cache name %q: want 1 to 64 of A-Z a-z 0-9 . _ - and no punctuation in front", name)
	}
	return nil
}

// settings returns what decides on records. Those that all nodes must have
// the same of do not include functions, and what concerns one node alone.
func (o *plain) settings(tagged bool) coherence.Settings {
	codecs := make([]string, len(o.ReadCodecs))
	for i, codec := range o.ReadCodecs {
		codecs[i] = strconv.Itoa(int(codec.ID()))
	}
	slices.Sort(codecs)
	return coherence.Settings{
		Codec: o.Codec.ID(), Schema: o.SchemaVersion, StaleFor: o.Stale.For, StaleTags: o.Stale.Tags, RefreshAhead: o.RefreshAhead, Tagged: tagged,
		Agreed: []bus.Setting{
			{Option: "AlsoRead", Value: strings.Join(codecs, " ")},
			{Option: "Codec", Value: strconv.Itoa(int(o.Codec.ID()))},
			{Option: "FailSafe", Value: o.Stale.For.String()},
			{Option: "NearTTL", Value: o.NearTTL.String()},
			{Option: "NotFoundTTL", Value: o.NotFoundTTL.String()},
			{Option: "RefreshAhead", Value: o.RefreshAhead.String()},
			{Option: "Schema", Value: strconv.Itoa(int(o.SchemaVersion))},
			{Option: "TTL", Value: o.TTL.String()},
		},
	}
}
