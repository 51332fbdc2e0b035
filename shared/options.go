package shared

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// MaxKeySize is the length of the longest key in a store, in bytes.
const MaxKeySize = driver.MaxKeySize

// MaxDuration is the longest time that an option or a lifetime may say: 100 years. Two
// of them can be added, and to any time.
const MaxDuration = driver.MaxDuration

// maxAttempts is the largest number of attempts of a call.
const maxAttempts = 10

// Options configure a [Tier]. The zero value is the production default. No duration is
// longer than [MaxDuration].
type Options struct {
	// Timeout bounds every call that its context does not bound more tightly.
	// Zero means 1 s. A driver can only keep to it if its client does; see the
	// driver.
	Timeout time.Duration

	// Attempts is how often a call is tried, within Timeout: again when the
	// connection failed or the server was not ready, after a pause of about
	// 10 ms, which doubles each time. What a server refused is not tried again.
	// Drivers and clients make one attempt. Zero means 3; 1 is no second
	// attempt, 10 the most.
	Attempts int

	// BreakAfter is how many calls in a row have to fail for the breaker to
	// open. While it is open, calls fail at once, with ErrOpen. Tail does not go
	// through it. It is one for all servers behind the store, and opens when
	// none of them answers. Calls whose callers left do not count. Zero means
	// that there is no breaker.
	BreakAfter int

	// BreakFor is how long the breaker is open. After it, one call at a time is
	// tried, until one succeeds. Zero means 1 s; with no breaker it must be zero.
	BreakFor time.Duration

	// TTL is the lifetime of values that Set stores with a TTL of zero. Zero
	// means 300 s.
	TTL time.Duration

	// MaxValue is the largest value in bytes, as encoded and not compressed, with the 12
	// bytes that a schema or tags take and 4 for each tag, and the 13 of a near TTL of
	// its own, or 24 with how long before its end it is to be refreshed. Zero means 8 MiB.
	// The store may allow less. A record that is larger reads as a miss.
	MaxValue int

	// Compress makes values smaller in the store; see the package compress. Nil
	// means that values are stored as they are, and that records which others
	// compressed read as misses and are counted. MaxValue is the limit of the
	// value; that of the store holds for what is stored.
	Compress Compressor

	// CompressOver is the length in bytes from which on values are compressed.
	// Zero means 1 KiB. With math.MaxInt compressed records are read and none is
	// written: the first step of a fleet that begins to compress.
	CompressOver int

	// LeaseTTL is how long a lease stands without being renewed: the time for
	// which a crashed loader holds up the others. Zero means 5 s.
	LeaseTTL time.Duration

	// TombstoneTTL is how long a deleted key keeps its revision. Zero means
	// 60 s.
	TombstoneTTL time.Duration
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Attempts = cmp.Or(o.Attempts, 3)
	if o.BreakAfter > 0 {
		o.BreakFor = cmp.Or(o.BreakFor, time.Second)
	}
	o.TTL = cmp.Or(o.TTL, 300*time.Second)
	o.MaxValue = cmp.Or(o.MaxValue, 8<<20)
	if o.Compress != nil {
		o.CompressOver = cmp.Or(o.CompressOver, defaultCompressOver)
	}
	o.LeaseTTL = cmp.Or(o.LeaseTTL, 5*time.Second)
	o.TombstoneTTL = cmp.Or(o.TombstoneTTL, 60*time.Second)
	return o
}

func (o Options) validate() error {
	for _, f := range []struct {
		name  string
		value any
		bad   bool
	}{
		{"Timeout", o.Timeout, o.Timeout < 0},
		{"Attempts", o.Attempts, o.Attempts < 0},
		{"BreakAfter", o.BreakAfter, o.BreakAfter < 0},
		{"BreakFor", o.BreakFor, o.BreakFor < 0},
		{"TTL", o.TTL, o.TTL < 0},
		{"MaxValue", o.MaxValue, o.MaxValue < 0},
		{"LeaseTTL", o.LeaseTTL, o.LeaseTTL < 0},
		{"TombstoneTTL", o.TombstoneTTL, o.TombstoneTTL < 0},
	} {
		if f.bad {
			return fmt.Errorf("shared: Options.%s is negative: %v", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"Timeout", o.Timeout}, {"BreakFor", o.BreakFor}, {"TTL", o.TTL}, {"LeaseTTL", o.LeaseTTL}, {"TombstoneTTL", o.TombstoneTTL},
	} {
		if f.value > MaxDuration {
			return fmt.Errorf("shared: Options.%s is %v, longer than %v", f.name, f.value, MaxDuration)
		}
	}
	if o.Attempts > maxAttempts {
		return fmt.Errorf("shared: Options.Attempts is %d, more than %d", o.Attempts, maxAttempts)
	}
	if o.BreakFor > 0 && o.BreakAfter == 0 {
		return fmt.Errorf("shared: Options.BreakFor is %v, but there is no breaker: Options.BreakAfter is 0", o.BreakFor)
	}
	if o.LeaseTTL > 0 && o.LeaseTTL < 100*time.Millisecond {
		return fmt.Errorf("shared: Options.LeaseTTL is %v, shorter than 100ms", o.LeaseTTL)
	}
	return o.validateCompression()
}
