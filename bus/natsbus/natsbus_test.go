package natsbus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
)

// nobody is a connection to a server that does not exist.
func nobody(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://127.0.0.1:1", append([]nats.Option{
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.RetryOnFailedConnect(true),
	}, options...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func TestNew_RefusesNil(t *testing.T) {
	_, err := natsbus.New(nil, natsbus.Options{})
	assert.EqualError(t, err, "natsbus: New: the connection is nil")
}

func TestNew_RefusesNoEcho(t *testing.T) {
	_, err := natsbus.New(nobody(t, nats.NoEcho()), natsbus.Options{})
	assert.ErrorContains(t, err, "NoEcho")
}

// TestNew_RefusesWhatMayEnd: a connection that may be gone for good is no use.
func TestNew_RefusesWhatMayEnd(t *testing.T) {
	for want, option := range map[string]nats.Option{
		"NoReconnect is set":                            nats.NoReconnect(),
		"it ends after 60 attempts to connect":          nats.MaxReconnects(60),
		"it ends after 0 attempts to connect":           nats.MaxReconnects(0),
		"it ends when its login is refused twice":       func(o *nats.Options) error { o.IgnoreAuthErrorAbort = false; return nil },
		"PingInterval is 0s, so it may be dead":         nats.PingInterval(0),
		"FlusherTimeout is 0s, so a write that hangs":   nats.FlusherTimeout(0),
		"FlusherTimeout is -1ns, so a write that hangs": nats.FlusherTimeout(-1),
	} {
		nc := connectionWith(t, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), option)
		_, err := natsbus.New(nc, natsbus.Options{})
		assert.ErrorContains(t, err, "natsbus: New: the connection cannot be used: "+want)
		_, err = natsbus.NewStream(t.Context(), nc, natsbus.StreamOptions{})
		assert.ErrorContains(t, err, "natsbus: NewStream: the connection cannot be used: "+want)
	}
}

// connectionWith returns a connection with these options that is to no server, and does
// not look for one.
func connectionWith(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc := &nats.Conn{Opts: nats.GetDefaultOptions()}
	for _, option := range options {
		require.NoError(t, option(&nc.Opts))
	}
	return nc
}

// TestNew_NamesAllThatIsWrong: what nats.go does by default is not enough.
func TestNew_NamesAllThatIsWrong(t *testing.T) {
	_, err := natsbus.New(connectionWith(t), natsbus.Options{})
	assert.EqualError(t, err, "natsbus: New: the connection cannot be used: it ends after 60 attempts to connect: "+
		"set nats.MaxReconnects(-1); it ends when its login is refused twice: set nats.IgnoreAuthErrorAbort()")
}

func TestNew_RefusesClosed(t *testing.T) {
	nc := nobody(t)
	transport, err := natsbus.New(nc, natsbus.Options{})
	require.NoError(t, err)
	nc.Close()
	require.EqualError(t, transport.Publish(t.Context(), nil), "natsbus: publish: not connected: nats: connection closed")
	_, err = natsbus.New(nc, natsbus.Options{})
	assert.EqualError(t, err, "natsbus: New: the connection is closed")
}

func TestNew_RefusesSubjects(t *testing.T) {
	nc := nobody(t)
	for _, subject := range []string{"a b", "a\n", "a..b", ".a", "a.", "*", "a.*.b", "a.>"} {
		_, err := natsbus.New(nc, natsbus.Options{Subject: subject})
		assert.ErrorContains(t, err, "natsbus: Options.Subject", subject)
	}
	_, err := natsbus.New(nc, natsbus.Options{Subject: "prod.nearbus"})
	assert.NoError(t, err)
}

func TestTransport_WithoutServer(t *testing.T) {
	transport, err := natsbus.New(nobody(t), natsbus.Options{})
	require.NoError(t, err)
	assert.EqualError(t, transport.Publish(t.Context(), []byte("x")), "natsbus: publish: not connected")
	assert.EqualError(t, transport.Receive(t.Context(), bus.Sink{}), "natsbus: subscribe: not connected")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, transport.Publish(ctx, []byte("x")), context.Canceled)
	assert.ErrorIs(t, transport.Receive(ctx, bus.Sink{}), context.Canceled)
}

func TestNew_Namespace(t *testing.T) {
	for want, opts := range map[string]natsbus.Options{
		"": {Namespace: "shop-staging"},
		`natsbus: Options.Namespace: namespace "a.b": want 1 to 64 of A-Z a-z 0-9 _ - and no punctuation in front`: {Namespace: "a.b"},
		`natsbus: Options.Namespace: namespace ">": want 1 to 64 of A-Z a-z 0-9 _ - and no punctuation in front`:   {Namespace: ">"},
		`natsbus: Options.Namespace "a" and Options.Subject "b" exclude each other`:                                {Namespace: "a", Subject: "b"},
	} {
		_, err := natsbus.New(nobody(t), opts)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, want)
	}
}

func TestNewStream_RefusesNil(t *testing.T) {
	_, err := natsbus.NewStream(t.Context(), nil, natsbus.StreamOptions{})
	assert.EqualError(t, err, "natsbus: NewStream: the connection is nil")
}

func TestNewStream_RefusesOptions(t *testing.T) {
	nc := nobody(t)
	for name, opts := range map[string]natsbus.StreamOptions{
		`StreamOptions.Stream "a.b" contains`:                            {Stream: "a.b"},
		`StreamOptions.Stream "a b" contains`:                            {Stream: "a b"},
		`StreamOptions.Namespace: namespace "a.b": want 1 to 64 of`:      {Namespace: "a.b"},
		`StreamOptions.Namespace "a" excludes Stream "b" and Subject ""`: {Namespace: "a", Stream: "b"},
		`StreamOptions.Namespace "a" excludes Stream "" and Subject "b"`: {Namespace: "a", Subject: "b"},
		`StreamOptions.Subject "a..b" has`:                               {Subject: "a..b"},
		`StreamOptions.Subject "a.>" has`:                                {Subject: "a.>"},
		"StreamOptions.MaxAge 1ms is shorter":                            {MaxAge: time.Millisecond},
		"StreamOptions.MaxAge -1s is shorter":                            {MaxAge: -time.Second},
		"StreamOptions.MaxBytes 1000 is less":                            {MaxBytes: 1000},
		"StreamOptions.Storage 9 is neither":                             {Storage: 9},
		"StreamOptions.Replicas 6 is not between":                        {Replicas: 6},
		"StreamOptions.Replicas -1 is not between 0":                     {Replicas: -1},
	} {
		_, err := natsbus.NewStream(t.Context(), nc, opts)
		assert.ErrorContains(t, err, "natsbus: "+name)
	}
}

// A stream may be made before its server is there.
func TestStream_WithoutServer(t *testing.T) {
	s, err := natsbus.NewStream(t.Context(), nobody(t), natsbus.StreamOptions{})
	require.NoError(t, err)
	assert.EqualError(t, s.Publish(t.Context(), []byte("x")), "natsbus: publish: not connected")
	assert.EqualError(t, s.Receive(t.Context(), bus.Sink{}), "natsbus: subscribe: not connected")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, s.Publish(ctx, []byte("x")), context.Canceled)
	assert.ErrorIs(t, s.Receive(ctx, bus.Sink{}), context.Canceled)
}
