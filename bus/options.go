package bus

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// maxDuration is the longest time that an option may say.
const maxDuration = 365 * 24 * time.Hour

// Options configure a [Bus]. The zero value is the production default. No duration is
// longer than a year.
type Options struct {
	// Node names this process to people; it needs not be unique. Empty means
	// the host name and the process id. At most 64 bytes.
	Node string

	// HeartbeatInterval is how often this process sends a heartbeat, which it
	// must hear itself, and others hear. Zero means 1 s. All processes on a
	// channel should have the same. Where all who listen have [Handler.Repairs], it is the
	// least, and each process adds 6.7 ms: 1,000 of them send one every 6.7 s.
	HeartbeatInterval time.Duration

	// HeartbeatTimeout is how old the newest own heartbeat that came back may
	// become before the subscription counts as lost and is made anew. It must
	// be longer than HeartbeatInterval. Zero means 3 times that. In a large fleet with
	// [Handler.Repairs] it is at least 3 times the interval that follows the fleet: 20 s with
	// 1,000 processes. [Bus.Probe] has it hold as it is set.
	HeartbeatTimeout time.Duration

	// PublishTimeout bounds the sending of one message, and is for how long one
	// that fails is tried again before Publish returns the error. Zero means 1 s.
	PublishTimeout time.Duration

	// MaxBatch is the largest number of invalidations in one message. Zero
	// means 1024. A message has at most 64 KiB in any case, and no more than
	// the transport carries.
	MaxBatch int

	// QueueSize is the number of invalidations that may wait while a message
	// is sent. Publish blocks when it is reached. Zero means 16,384.
	QueueSize int

	// IgnoreText has messages in the plain-text form skipped, and counted by
	// Stats.IgnoredText. By default whoever may publish on the channel can clear
	// caches with them, by hand or from another program; see the package comment.
	IgnoreText bool

	// Tool says that this process is no server of the fleet: somebody runs it to look, or to
	// invalidate. It hears everything, and says that it does not: so nobody counts it among the
	// processes that are there, or waits for it in a Barrier.
	Tool bool

	// ReadOnly says that this process publishes nothing: Publish returns [ErrReadOnly], and
	// there is no Announcement. So the others miss nothing if it dies, and have no gap.
	ReadOnly bool

	// Logger receives what no caller is there to be told: panics of the handler,
	// that payloads come which cannot be read, and that they do not any more, and at the
	// level Debug what the handler is told as well, such as lost continuity. Nil means nothing is logged.
	Logger *slog.Logger

	// Background has the values, and no more, of the contexts that the transport is given:
	// for heartbeats, for receiving, and for messages, each of which may be of several
	// callers of Publish. A tracer of the client can tell them by it. Its end and its
	// deadline mean nothing. Nil means no values.
	Background context.Context
}

func (o Options) withDefaults() Options {
	if o.Node == "" {
		o.Node = defaultNode()
	}
	o.HeartbeatInterval = cmp.Or(o.HeartbeatInterval, time.Second)
	o.HeartbeatTimeout = cmp.Or(o.HeartbeatTimeout, 3*min(o.HeartbeatInterval, maxDuration))
	o.PublishTimeout = cmp.Or(o.PublishTimeout, time.Second)
	o.MaxBatch = cmp.Or(o.MaxBatch, 1024)
	o.QueueSize = cmp.Or(o.QueueSize, 16<<10)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Background == nil {
		o.Background = context.Background()
	}
	return o
}

// validate checks options that have their defaults.
func (o Options) validate() error {
	if len(o.Node) > maxNodeSize {
		return fmt.Errorf("bus: Options.Node has %d bytes, more than %d", len(o.Node), maxNodeSize)
	}
	for _, f := range []struct {
		name  string
		value any
		bad   bool
	}{
		{"HeartbeatInterval", o.HeartbeatInterval, o.HeartbeatInterval < 0},
		{"HeartbeatTimeout", o.HeartbeatTimeout, o.HeartbeatTimeout < 0},
		{"PublishTimeout", o.PublishTimeout, o.PublishTimeout < 0},
		{"MaxBatch", o.MaxBatch, o.MaxBatch < 0},
		{"QueueSize", o.QueueSize, o.QueueSize < 0},
	} {
		if f.bad {
			return fmt.Errorf("bus: Options.%s is negative: %v", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"HeartbeatInterval", o.HeartbeatInterval}, {"HeartbeatTimeout", o.HeartbeatTimeout}, {"PublishTimeout", o.PublishTimeout},
	} {
		if f.value > maxDuration {
			return fmt.Errorf("bus: Options.%s is %v, longer than %v", f.name, f.value, maxDuration)
		}
	}
	if o.HeartbeatTimeout <= o.HeartbeatInterval {
		return fmt.Errorf("bus: Options.HeartbeatTimeout %v is not longer than HeartbeatInterval %v",
			o.HeartbeatTimeout, o.HeartbeatInterval)
	}
	return nil
}

func defaultNode() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	pid := fmt.Sprintf("-%d", os.Getpid())
	return host[:min(len(host), maxNodeSize-len(pid))] + pid
}
