package shared

import (
	"fmt"
	"time"
)

// MaxKeySize is the length of the longest key, in bytes.
const MaxKeySize = 1024

// Options configure a [Tier]. The zero value is the production default.
type Options struct {
	// Timeout bounds every call that its context does not bound more tightly.
	// Zero means 1 s. A driver can only keep to it if its client does; see the
	// driver.
	Timeout time.Duration

	// TTL is the lifetime of values that Set stores with a TTL of zero. Zero
	// means 300 s.
	TTL time.Duration

	// MaxValue is the largest value in bytes, as encoded, together with the 12
	// bytes that a schema or tags take and 4 for each tag. Zero means 8 MiB.
	// The store may allow less.
	MaxValue int

	// LeaseTTL is how long a lease stands without being renewed: the time for
	// which a crashed loader holds up the others. Zero means 5 s.
	LeaseTTL time.Duration

	// TombstoneTTL is how long a deleted key keeps its revision. Zero means
	// 60 s.
	TombstoneTTL time.Duration
}

func (o Options) withDefaults() Options {
	setDefault(&o.Timeout, time.Second)
	setDefault(&o.TTL, 300*time.Second)
	setDefault(&o.MaxValue, 8<<20)
	setDefault(&o.LeaseTTL, 5*time.Second)
	setDefault(&o.TombstoneTTL, 60*time.Second)
	return o
}

func (o Options) validate() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Timeout", int64(o.Timeout)},
		{"TTL", int64(o.TTL)},
		{"MaxValue", int64(o.MaxValue)},
		{"LeaseTTL", int64(o.LeaseTTL)},
		{"TombstoneTTL", int64(o.TombstoneTTL)},
	} {
		if f.value < 0 {
			return fmt.Errorf("shared: Options.%s is negative: %d", f.name, f.value)
		}
	}
	if o.LeaseTTL > 0 && o.LeaseTTL < 100*time.Millisecond {
		return fmt.Errorf("shared: Options.LeaseTTL is %v, shorter than 100ms", o.LeaseTTL)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
