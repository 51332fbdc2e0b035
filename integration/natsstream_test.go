package integration_test

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
)

var sharedJetStream = share(func() (*servers.NATSServer, error) { return servers.StartNATS(servers.JetStream) })

// natsConnection returns a connection that comes back soon.
func natsConnection(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(20*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// streamOptions are those of a stream that no other test has.
func streamOptions(name string) natsbus.StreamOptions {
	name = strings.Map(func(r rune) rune {
		if r == '.' || r == '/' || r == '*' || r == '>' || r == ' ' {
			return '-'
		}
		return r
	}, name)
	return natsbus.StreamOptions{Stream: name, Subject: "stream." + name}
}

func natsStream(t *testing.T, url string, opts natsbus.StreamOptions) *natsbus.Stream {
	t.Helper()
	s, err := natsbus.NewStream(t.Context(), natsConnection(t, url), opts)
	require.NoError(t, err)
	return s
}

// manager returns the API of the server.
func manager(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(natsConnection(t, url))
	require.NoError(t, err)
	return js
}

func TestBus_ConformanceOnJetStream(t *testing.T) {
	t.Parallel()
	server := servers.NATS(t, servers.JetStream)
	js := manager(t, server.URL)
	bustest.Run(t, bustest.Harness{
		Join: func(subject string) (bus.Transport, error) {
			return natsStream(t, server.URL, streamOptions(subject)), nil
		},
		// Nothing less ends the continuity of a stream.
		Break: func(ctx context.Context, subject string) error {
			return js.DeleteStream(ctx, streamOptions(subject).Stream)
		},
	}, false)
}

// listening is a call of Receive.
type listening struct {
	done  chan struct{} // closed when Receive returned
	mu    sync.Mutex    // protects the following fields
	heard []string
	err   error
}

func listen(t *testing.T, transport bus.Transport) *listening {
	t.Helper()
	l := &listening{done: make(chan struct{})}
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends with the test
		defer close(l.done)
		err := transport.Receive(ctx, bus.Sink{
			Ready: func() { close(ready) },
			Gap:   func(error) {},
			Deliver: func(payload []byte) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.heard = append(l.heard, string(payload))
			},
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = err
	}()
	t.Cleanup(func() { cancel(); <-l.done })
	await(t, ready, "Ready")
	return l
}

func (l *listening) has() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

// requireAll wants these payloads, once and in order, and nothing else.
func (l *listening) requireAll(t *testing.T, want []string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(l.has()) >= len(want) }, busPatience, 5*time.Millisecond)
	require.Equal(t, want, l.has())
	select {
	case <-l.done:
		require.NoError(t, l.err, "the subscription ended")
	default:
	}
}

// requireAfter publishes once more, as often as it takes while the connection
// comes back, and wants that behind these payloads. An attempt whose answer was
// lost is in the stream as well.
func (l *listening) requireAfter(t *testing.T, transport bus.Transport, want []string) {
	t.Helper()
	require.Eventually(t, func() bool { return transport.Publish(t.Context(), []byte("after")) == nil }, busPatience, 20*time.Millisecond)
	want = append(want, "after")
	require.Eventually(t, func() bool { return len(l.has()) >= len(want) }, busPatience, 5*time.Millisecond)
	require.Equal(t, want, slices.Compact(l.has()))
}

func (l *listening) requireEnd(t *testing.T, reason string) {
	t.Helper()
	await(t, l.done, "the end of the subscription")
	require.ErrorContains(t, l.err, reason)
}

// publishMany publishes numbered payloads and returns them.
func publishMany(t *testing.T, transport bus.Transport, from, to int) (all []string) {
	t.Helper()
	for i := from; i < to; i++ {
		all = append(all, strconv.Itoa(i))
		publish(t, transport, all[len(all)-1])
	}
	return all
}

// What is published while the connection is lost is replayed.
func TestStream_ReplaysWhatWasMissed(t *testing.T) {
	t.Parallel()
	server := sharedJetStream(t)
	opts := streamOptions(uniqueName())
	relay := servers.RelayTo(t, hostOf(t, server.URL))
	direct := natsStream(t, server.URL, opts)
	publishMany(t, direct, 1000, 1003) // nobody wants these
	l := listen(t, natsStream(t, "nats://"+relay.Addr, opts))
	want := publishMany(t, direct, 0, 5)
	l.requireAll(t, want)
	for round := range 3 {
		relay.Refuse()
		want = append(want, publishMany(t, direct, 10*round+10, 10*round+18)...)
		require.NoError(t, relay.Resume())
		l.requireAll(t, want)
	}
	relay.Blackhole() // what is sent now vanishes
	want = append(want, publishMany(t, direct, 100, 105)...)
	require.NoError(t, relay.Resume())
	l.requireAll(t, want)
}

func TestStream_ReplaysMoreThanTheClientHolds(t *testing.T) {
	t.Parallel()
	server := sharedJetStream(t)
	opts := streamOptions(uniqueName())
	relay := servers.RelayTo(t, hostOf(t, server.URL))
	l := listen(t, natsStream(t, "nats://"+relay.Addr, opts))
	direct := natsStream(t, server.URL, opts)
	relay.Refuse()
	want := publishMany(t, direct, 0, 1500)
	require.NoError(t, relay.Resume())
	l.requireAll(t, want)
}

func TestStream_OutlivesTheServer(t *testing.T) {
	t.Parallel()
	server := servers.NATS(t, servers.JetStream)
	opts := streamOptions(uniqueName())
	s := natsStream(t, server.URL, opts)
	l := listen(t, s)
	want := publishMany(t, s, 0, 5)
	l.requireAll(t, want)
	require.NoError(t, server.Restart())
	l.requireAfter(t, s, want)
}

func TestStream_InMemoryDoesNot(t *testing.T) {
	t.Parallel()
	server := servers.NATS(t, servers.JetStream)
	opts := streamOptions(uniqueName())
	opts.Storage = natsbus.StorageMemory
	s := natsStream(t, server.URL, opts)
	l := listen(t, s)
	publish(t, s, "before")
	require.NoError(t, server.Restart())
	l.requireEnd(t, "stream not found")
	again := listen(t, s)
	publish(t, s, "after")
	again.requireAll(t, []string{"after"})
}

// What the stream has lost is a gap, and is never skipped without a word.
func TestStream_Gaps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm   func(t *testing.T, js jetstream.JetStream, direct *natsbus.Stream, opts natsbus.StreamOptions)
		reason string
	}{
		"trimmed in front": {func(t *testing.T, js jetstream.JetStream, direct *natsbus.Stream, opts natsbus.StreamOptions) {
			publishMany(t, direct, 10, 20)
			stream, err := js.Stream(t.Context(), opts.Stream)
			require.NoError(t, err)
			require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeKeep(2)))
		}, "has no message"},
		"emptied": {func(t *testing.T, js jetstream.JetStream, direct *natsbus.Stream, opts natsbus.StreamOptions) {
			publishMany(t, direct, 10, 20)
			stream, err := js.Stream(t.Context(), opts.Stream)
			require.NoError(t, err)
			require.NoError(t, stream.Purge(t.Context()))
		}, "has no message"},
		"a hole": {func(t *testing.T, js jetstream.JetStream, direct *natsbus.Stream, opts natsbus.StreamOptions) {
			publishMany(t, direct, 10, 20)
			stream, err := js.Stream(t.Context(), opts.Stream)
			require.NoError(t, err)
			info, err := stream.Info(t.Context())
			require.NoError(t, err)
			require.NoError(t, stream.DeleteMsg(t.Context(), info.State.LastSeq-3))
		}, "has no message"},
		"made anew": {func(t *testing.T, js jetstream.JetStream, _ *natsbus.Stream, opts natsbus.StreamOptions) {
			require.NoError(t, js.DeleteStream(t.Context(), opts.Stream))
			_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: opts.Stream, Subjects: []string{opts.Subject}})
			require.NoError(t, err)
		}, "was deleted and created again"},
		"deleted": {func(t *testing.T, js jetstream.JetStream, _ *natsbus.Stream, opts natsbus.StreamOptions) {
			require.NoError(t, js.DeleteStream(t.Context(), opts.Stream))
		}, "stream not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := sharedJetStream(t)
			opts := streamOptions(uniqueName())
			relay := servers.RelayTo(t, hostOf(t, server.URL))
			l := listen(t, natsStream(t, "nats://"+relay.Addr, opts))
			direct := natsStream(t, server.URL, opts)
			want := publishMany(t, direct, 0, 5)
			l.requireAll(t, want)
			relay.Refuse()
			c.harm(t, manager(t, server.URL), direct, opts)
			require.NoError(t, relay.Resume())
			l.requireEnd(t, c.reason)
		})
	}
}

// A server that comes back with an older copy of the stream gives out the same
// numbers again, which must not pass for what was heard already.
func TestStream_RestoredFromACopy(t *testing.T) {
	t.Parallel()
	dir, backup := t.TempDir(), t.TempDir()
	server := servers.NATS(t, servers.JetStream, func(o *server.Options) { o.StoreDir = dir })
	opts := streamOptions(uniqueName())
	relay := servers.RelayTo(t, hostOf(t, server.URL))
	direct := natsStream(t, server.URL, opts)
	publishMany(t, direct, 0, 5)
	server.Kill()
	require.NoError(t, os.CopyFS(backup, os.DirFS(dir)))
	require.NoError(t, server.Restart())
	l := listen(t, natsStream(t, "nats://"+relay.Addr, opts))
	want := publishMany(t, natsStream(t, server.URL, opts), 5, 10)
	l.requireAll(t, want)
	relay.Refuse()
	server.Kill()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.CopyFS(dir, os.DirFS(backup)))
	require.NoError(t, server.Restart())
	publishMany(t, natsStream(t, server.URL, opts), 100, 120)
	require.NoError(t, relay.Resume())
	l.requireEnd(t, "has another message 10 than before")
	require.Equal(t, want, l.has(), "nothing was delivered twice or left out in silence")
}

// A stream that is there already is used if it can do what is promised.
func TestNewStream_ChecksTheStream(t *testing.T) {
	t.Parallel()
	url := sharedJetStream(t).URL
	js := manager(t, url)
	base := func(name string) jetstream.StreamConfig {
		return jetstream.StreamConfig{Name: name, Subjects: []string{"stream." + name}}
	}
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   func(*natsbus.StreamOptions)
		reason string
	}{
		"as it must be":    {},
		"longer age":       {change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"another age":      {change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, want: func(o *natsbus.StreamOptions) { o.MaxAge = time.Minute }, reason: "has max age 1h0m0s, must be 1m0s"},
		"another size":     {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 5 << 20 }, want: func(o *natsbus.StreamOptions) { o.MaxBytes = 1 << 20 }, reason: "has max bytes 5242880, must be 1048576"},
		"in memory":        {change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, want: func(o *natsbus.StreamOptions) { o.Storage = natsbus.StorageFile }, reason: "has storage Memory, must be File"},
		"more subjects":    {change: func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, c.Name+".more") }, reason: "has subjects"},
		"a work queue":     {change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, reason: "has retention WorkQueue, must be Limits"},
		"refuses the new":  {change: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }, reason: "has discard DiscardNew, must be DiscardOld"},
		"does not answer":  {change: func(c *jetstream.StreamConfig) { c.NoAck = true }, reason: "has no ack true, must be false"},
		"small messages":   {change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 }, reason: "has max message size 10, must be unlimited"},
		"another's copies": {change: func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "other"}} }, reason: "has sources set, must be none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := streamOptions(uniqueName())
			config := base(opts.Stream)
			if c.change != nil {
				c.change(&config)
			}
			if c.want != nil {
				c.want(&opts)
			}
			_, err := js.CreateStream(t.Context(), config)
			require.NoError(t, err)
			_, err = natsbus.NewStream(t.Context(), natsConnection(t, url), opts)
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, fmt.Sprintf("stream %q %s", opts.Stream, c.reason))
		})
	}
}

func TestNewStream_WithoutJetStream(t *testing.T) {
	t.Parallel()
	_, err := natsbus.NewStream(t.Context(), natsConnection(t, sharedNATS(t).URL), natsbus.StreamOptions{})
	require.ErrorContains(t, err, "natsbus: NewStream: ")
}

func TestNewStream_ManyAtOnce(t *testing.T) {
	t.Parallel()
	url := sharedJetStream(t).URL
	opts := streamOptions(uniqueName())
	var all sync.WaitGroup
	for range 16 {
		nc := natsConnection(t, url)
		all.Go(func() {
			_, err := natsbus.NewStream(t.Context(), nc, opts)
			assert.NoError(t, err)
		})
	}
	all.Wait()
}

func TestStream_LeavesNoConsumer(t *testing.T) {
	t.Parallel()
	server := sharedJetStream(t)
	opts := streamOptions(uniqueName())
	s := natsStream(t, server.URL, opts)
	js := manager(t, server.URL)
	consumers := func() int {
		stream, err := js.Stream(t.Context(), opts.Stream)
		require.NoError(t, err)
		info, err := stream.Info(t.Context())
		require.NoError(t, err)
		return info.State.Consumers
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error)
	go func() { // ends with ctx
		ended <- s.Receive(ctx, bus.Sink{Ready: func() { close(ready) }, Deliver: func([]byte) {}, Gap: func(error) {}})
	}()
	await(t, ready, "Ready")
	assert.Equal(t, 1, consumers())
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Eventually(t, func() bool { return consumers() == 0 }, busPatience, 5*time.Millisecond)
}

func TestStream_PublishNeedsTheStream(t *testing.T) {
	t.Parallel()
	server := sharedJetStream(t)
	opts := streamOptions(uniqueName())
	s := natsStream(t, server.URL, opts)
	require.NoError(t, manager(t, server.URL).DeleteStream(t.Context(), opts.Stream))
	ctx, cancel := context.WithTimeout(t.Context(), busPatience)
	defer cancel()
	require.Error(t, s.Publish(ctx, []byte("nowhere")))
}

// A bus over a stream does not notice that its server was restarted.
func TestStream_BusWithoutGap(t *testing.T) {
	t.Parallel()
	server := servers.NATS(t, servers.JetStream)
	opts := streamOptions(uniqueName())
	relay := servers.RelayTo(t, hostOf(t, server.URL))
	one := startBus(t, natsStream(t, "nats://"+relay.Addr, opts))
	two := startBus(t, natsStream(t, server.URL, opts))
	relay.Cut()
	two.tell(t, "from two")
	one.awaitKey(t, "from two")
	one.tell(t, "from one")
	two.awaitKey(t, "from one")
	gaps, _ := one.counts()
	assert.Zero(t, gaps)
}

// The rights that the package comment names are enough.
func TestStream_LeastRights(t *testing.T) {
	t.Parallel()
	rights := func(o *server.Options) {
		o.Users = []*server.User{{Username: "app", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				"nearbus.stream", "$JS.API.STREAM.INFO.NEARBUS", "$JS.API.STREAM.CREATE.NEARBUS",
				"$JS.API.CONSUMER.CREATE.NEARBUS.>", "$JS.API.CONSUMER.MSG.NEXT.NEARBUS.>", "$JS.API.CONSUMER.DELETE.NEARBUS.>",
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}}
	}
	relay := servers.RelayTo(t, hostOf(t, servers.NATS(t, servers.JetStream, rights).URL))
	s := natsStream(t, "nats://app:secret@"+relay.Addr, natsbus.StreamOptions{})
	l := listen(t, s)
	want := publishMany(t, s, 0, 3)
	l.requireAll(t, want)
	relay.Cut()
	l.requireAfter(t, s, want)
}

// streamSettings has a stream for each setting of JetStream that is not as it is in
// a stream that natsbus makes, and why natsbus refuses it. Without a reason, a bus
// over it hears itself.
var streamSettings = map[string]struct {
	change func(*jetstream.StreamConfig)
	reason string
}{
	"Name":        {func(*jetstream.StreamConfig) {}, ""}, // any
	"Description": {func(c *jetstream.StreamConfig) { c.Description = "ours" }, ""},
	"Subjects":    {func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, c.Name+".more") }, "has subjects"},
	"Retention":   {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "has retention Interest, must be Limits"},
	"MaxConsumers": {
		func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 },
		"has max consumers 1, must be unlimited, since each process has one",
	},
	"MaxMsgs":  {func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }, "has max messages 1, must be unlimited or at least 1024"},
	"MaxBytes": {func(c *jetstream.StreamConfig) { c.MaxBytes = 1000 }, "has max bytes 1000, must be unlimited or at least 1048576"},
	"Discard":  {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }, "has discard DiscardNew, must be DiscardOld"},
	"DiscardNewPerSubject": {func(c *jetstream.StreamConfig) {
		c.Discard, c.DiscardNewPerSubject, c.MaxMsgsPerSubject = jetstream.DiscardNew, true, 5000
	}, "has discard DiscardNew, must be DiscardOld"},
	"MaxAge": {
		func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = 500*time.Millisecond, 500*time.Millisecond },
		"has max age 500ms, must be unlimited or at least 1s",
	},
	"MaxMsgsPerSubject": {
		func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"has max messages per subject 1, must be unlimited or at least 1024",
	},
	"MaxMsgSize": {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 }, "has max message size 10, must be unlimited"},
	"Storage":    {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, ""},
	"Replicas":   {func(c *jetstream.StreamConfig) { c.Replicas = 1 }, ""},
	"NoAck":      {func(c *jetstream.StreamConfig) { c.NoAck = true }, "has no ack true, must be false"},
	"Duplicates": {func(c *jetstream.StreamConfig) { c.Duplicates = time.Second }, ""},
	"Placement":  {func(*jetstream.StreamConfig) {}, ""}, // where it is, if it can be there
	"Mirror": {
		func(c *jetstream.StreamConfig) { c.Subjects, c.Mirror = nil, &jetstream.StreamSource{Name: "other"} },
		"has mirror set, must be none",
	},
	"Sources":     {func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "other"}} }, "has sources set, must be none"},
	"Sealed":      {func(c *jetstream.StreamConfig) { c.Sealed = true }, "has sealed true, must be false"},
	"DenyDelete":  {func(c *jetstream.StreamConfig) { c.DenyDelete = true }, ""},
	"DenyPurge":   {func(c *jetstream.StreamConfig) { c.DenyPurge = true }, ""},
	"AllowRollup": {func(c *jetstream.StreamConfig) { c.AllowRollup = true }, ""},
	"Compression": {func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }, ""},
	"FirstSeq":    {func(c *jetstream.StreamConfig) { c.FirstSeq = 1000 }, ""},
	"SubjectTransform": {func(c *jetstream.StreamConfig) {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "elsewhere.>"}
	}, ""},
	"RePublish": {func(c *jetstream.StreamConfig) {
		c.RePublish = &jetstream.RePublish{Source: ">", Destination: "again.>"}
	}, ""},
	"AllowDirect":  {func(c *jetstream.StreamConfig) { c.AllowDirect = true }, ""},
	"MirrorDirect": {func(*jetstream.StreamConfig) {}, ""}, // of mirrors only
	"ConsumerLimits": {func(c *jetstream.StreamConfig) {
		c.ConsumerLimits = jetstream.StreamConsumerLimits{InactiveThreshold: time.Second, MaxAckPending: 1}
	}, "has consumer limit of the inactive threshold 1s, must be none or at least 30s"},
	"Metadata":    {func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"team": "ours"} }, ""},
	"Template":    {func(*jetstream.StreamConfig) {}, ""}, // no server has it any more
	"AllowMsgTTL": {func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, ""},
	"SubjectDeleteMarkerTTL": {func(c *jetstream.StreamConfig) {
		c.AllowMsgTTL, c.AllowRollup, c.SubjectDeleteMarkerTTL = true, true, time.Second
	}, ""},
	"AllowMsgCounter":    {func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }, "has message counters allowed, must be not allowed"},
	"AllowAtomicPublish": {func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = true }, ""},
	"AllowMsgSchedules":  {func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true }, ""},
	"PersistMode":        {func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, ""},
	"AllowBatchPublish":  {func(c *jetstream.StreamConfig) { c.AllowBatchPublish = true }, ""},
}

// TestNewStream_KnowsEverySetting: a stream is refused by the name of the setting, or
// can be used. It fails when JetStream has another one: find out what it does.
func TestNewStream_KnowsEverySetting(t *testing.T) {
	t.Parallel()
	url := sharedJetStream(t).URL
	js := manager(t, url)
	for field := range reflect.TypeFor[jetstream.StreamConfig]().Fields() {
		t.Run(field.Name, func(t *testing.T) {
			t.Parallel()
			c, known := streamSettings[field.Name]
			require.True(t, known)
			opts := streamOptions(uniqueName())
			config := jetstream.StreamConfig{Name: opts.Stream, Subjects: []string{opts.Subject}}
			c.change(&config)
			sealed := config.Sealed // which a new stream cannot be
			config.Sealed = false
			_, err := js.CreateStream(t.Context(), config)
			require.NoError(t, err)
			if config.Sealed = sealed; sealed {
				_, err = js.UpdateStream(t.Context(), config)
				require.NoError(t, err)
			}
			s, err := natsbus.NewStream(t.Context(), natsConnection(t, url), opts)
			if c.reason != "" {
				require.ErrorContains(t, err, fmt.Sprintf("stream %q %s", opts.Stream, c.reason))
				return
			}
			require.NoError(t, err)
			n := startBus(t, s)
			n.tell(t, "k")
			n.awaitKey(t, "k")
		})
	}
}

// TestNewStream_ConsumerLimits: limits that leave room are none.
func TestNewStream_ConsumerLimits(t *testing.T) {
	t.Parallel()
	url, opts := sharedJetStream(t).URL, streamOptions(uniqueName())
	_, err := manager(t, url).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: opts.Stream, Subjects: []string{opts.Subject},
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: 30 * time.Second, MaxAckPending: 1},
	})
	require.NoError(t, err)
	n := startBus(t, natsStream(t, url, opts))
	n.tell(t, "k")
	n.awaitKey(t, "k")
}
