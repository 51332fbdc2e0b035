package natsbus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nearbus/nearbus/bus"
)

// Storage says where the server keeps a stream.
type Storage uint8

const (
	_ Storage = iota

	// StorageFile outlives the server: it goes on where it was after a restart.
	StorageFile

	// StorageMemory does not: a restart is a gap, unless there are replicas.
	StorageMemory
)

// StreamOptions configure a [Stream]. The zero value is the production default.
//
// What is zero has its default in a stream that is created. In one that is
// there already it may have any value that is large enough, and what is set must be
// set there too. Other settings of a stream that is there must not be in the way: one
// subject, limits as retention, discard old, no mirror, no sources, answers to
// publishers, no counters, consumers without limits, and messages of any size. The
// error of [NewStream] names those that are.
type StreamOptions struct {
	// Namespace keeps fleets apart that share a server: applications, staging and
	// production. It has 1 to 64 of A-Z a-z 0-9 _ -. Give the store the same.
	// Empty is a namespace as well.
	Namespace string

	// Stream names the JetStream stream, which holds the subject and nothing
	// else, in place of what follows from Namespace: "NEARBUS", or "NEARBUS-" and
	// the namespace.
	Stream string

	// Subject is what all processes of the fleet publish on, in place of what
	// follows from Namespace: "nearbus.stream", or "nearbus-", the namespace and
	// ".stream". It has no wildcards, and is not the subject of a [Transport].
	Subject string

	// MaxAge is for how long a message can be replayed, at least 1 s. Longer
	// than [bus.Options.HeartbeatTimeout] it is of no use. Zero means 2 min.
	MaxAge time.Duration

	// MaxBytes is how much the server keeps, in bytes, at least 1 MiB. When it
	// is reached, the oldest go. Zero means 32 MiB.
	MaxBytes int64

	// Storage is where the server keeps the stream. Zero means StorageFile,
	// since a restart of the server is what there is most to replay after. The
	// server does not wait for the disk.
	Storage Storage

	// Replicas is how many servers of a cluster keep the stream, 1 to 5. Zero
	// means 1.
	Replicas int
}

// Defaults and smallest values of [StreamOptions].
const (
	defaultMaxAge   = 2 * time.Minute
	defaultMaxBytes = 32 << 20
	minMaxAge       = time.Second
	minMaxBytes     = 1 << 20
	minMaxMsgs      = 1024
	maxReplicas     = 5
)

// withNames fills in only what is not a limit: which limits were set matters.
func (o StreamOptions) withNames() (StreamOptions, error) {
	name, err := bus.Namespace(o.Namespace)
	if err != nil {
		return o, fmt.Errorf("natsbus: StreamOptions.Namespace: %w", err)
	}
	if o.Namespace != "" && (o.Stream != "" || o.Subject != "") {
		return o, fmt.Errorf("natsbus: StreamOptions.Namespace %q excludes Stream %q and Subject %q", o.Namespace, o.Stream, o.Subject)
	}
	if o.Stream == "" {
		o.Stream = "NEARBUS" + strings.TrimPrefix(name, "nearbus")
	}
	if o.Subject == "" {
		o.Subject = name + ".stream"
	}
	return o, nil
}

// validate checks options that have their names.
func (o StreamOptions) validate() error {
	switch {
	case strings.ContainsAny(o.Stream, " \t\r\n\f.*>/\\"):
		return fmt.Errorf("natsbus: StreamOptions.Stream %q contains white space or one of . * > / \\", o.Stream)
	case o.MaxAge != 0 && o.MaxAge < minMaxAge:
		return fmt.Errorf("natsbus: StreamOptions.MaxAge %v is shorter than %v", o.MaxAge, minMaxAge)
	case o.MaxBytes != 0 && o.MaxBytes < minMaxBytes:
		return fmt.Errorf("natsbus: StreamOptions.MaxBytes %d is less than %d", o.MaxBytes, minMaxBytes)
	case o.Storage > StorageMemory:
		return fmt.Errorf("natsbus: StreamOptions.Storage %d is neither StorageFile nor StorageMemory", o.Storage)
	case o.Replicas < 0 || o.Replicas > maxReplicas:
		return fmt.Errorf("natsbus: StreamOptions.Replicas %d is not between 0 and %d", o.Replicas, maxReplicas)
	}
	return validateSubject("StreamOptions.Subject", o.Subject)
}

// config is the stream that is created.
func (o StreamOptions) config() jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name:      o.Stream,
		Subjects:  []string{o.Subject},
		Retention: jetstream.LimitsPolicy,
		Discard:   jetstream.DiscardOld,
		MaxAge:    defaultMaxAge,
		MaxBytes:  defaultMaxBytes,
		Storage:   jetstream.FileStorage,
		Replicas:  1,
	}
	if o.MaxAge != 0 {
		config.MaxAge = o.MaxAge
	}
	if o.MaxBytes != 0 {
		config.MaxBytes = o.MaxBytes
	}
	if o.Storage == StorageMemory {
		config.Storage = jetstream.MemoryStorage
	}
	if o.Replicas != 0 {
		config.Replicas = o.Replicas
	}
	return config
}

// check returns an error for each setting with which a stream cannot do, or
// does not do what the options say.
func (o StreamOptions) check(is jetstream.StreamConfig) error {
	want, idle := o.config(), is.ConsumerLimits.InactiveThreshold
	var failures []error
	for _, s := range []struct {
		setting  string
		fits     bool
		is, must any
	}{
		{"subjects", len(is.Subjects) == 1 && is.Subjects[0] == o.Subject, is.Subjects, want.Subjects},
		{"retention", is.Retention == want.Retention, is.Retention, want.Retention},
		{"discard", is.Discard == want.Discard, is.Discard, want.Discard},
		{"mirror", is.Mirror == nil, "set", "none"},
		{"sources", len(is.Sources) == 0, "set", "none"},
		{"sealed", !is.Sealed, is.Sealed, false},
		{"no ack", !is.NoAck, is.NoAck, false},
		{"max message size", is.MaxMsgSize <= 0, is.MaxMsgSize, "unlimited"},
		{"message counters", !is.AllowMsgCounter, "allowed", "not allowed"},
		{"max consumers", is.MaxConsumers <= 0, is.MaxConsumers, "unlimited, since each process has one"},
		{"consumer limit of the inactive threshold", idle <= 0 || idle >= idleTimeout, idle, fmt.Sprintf("none or at least %v", idleTimeout)},
		{"max messages", is.MaxMsgs <= 0 || is.MaxMsgs >= minMaxMsgs, is.MaxMsgs, atLeast(minMaxMsgs)},
		{"max messages per subject", is.MaxMsgsPerSubject <= 0 || is.MaxMsgsPerSubject >= minMaxMsgs, is.MaxMsgsPerSubject, atLeast(minMaxMsgs)},
		{"max bytes", o.MaxBytes != 0 || is.MaxBytes <= 0 || is.MaxBytes >= minMaxBytes, is.MaxBytes, atLeast(minMaxBytes)},
		{"max age", o.MaxAge != 0 || is.MaxAge <= 0 || is.MaxAge >= minMaxAge, is.MaxAge, atLeast(minMaxAge)},
		{"max age", o.MaxAge == 0 || is.MaxAge == want.MaxAge, is.MaxAge, want.MaxAge},
		{"max bytes", o.MaxBytes == 0 || is.MaxBytes == want.MaxBytes, is.MaxBytes, want.MaxBytes},
		{"storage", o.Storage == 0 || is.Storage == want.Storage, is.Storage, want.Storage},
		{"replicas", o.Replicas == 0 || is.Replicas == want.Replicas, is.Replicas, want.Replicas},
	} {
		if !s.fits {
			failures = append(failures, fmt.Errorf("stream %q has %s %v, must be %v", is.Name, s.setting, s.is, s.must))
		}
	}
	return errors.Join(failures...)
}

// atLeast says what a limit must be below which receivers would miss messages all
// the time.
func atLeast(smallest any) string { return fmt.Sprintf("unlimited or at least %v", smallest) }
