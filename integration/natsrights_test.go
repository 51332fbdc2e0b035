package integration_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
)

// natsUser makes a server know one user, who may do no more than this.
func natsUser(publish, subscribe []string) func(*server.Options) {
	return func(o *server.Options) {
		// An empty list would allow everything.
		o.Users = []*server.User{{Username: "app", Password: secret, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: append([]string{"nothing"}, publish...)},
			Subscribe: &server.SubjectPermission{Allow: append([]string{"nothing"}, subscribe...)},
		}}}
	}
}

// encrypted makes a server want encryption and certificates of clients.
func encrypted(c *servers.Certificates) func(*server.Options) {
	return func(o *server.Options) { o.TLS, o.TLSVerify, o.TLSConfig, o.TLSTimeout = true, true, c.Server, 5 }
}

// natsApp connects as the user of natsUser.
func natsApp(t *testing.T, addr string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return natsClient(t, addr, append([]nats.Option{nats.UserInfo("app", secret)}, opts...)...)
}

// natsClient connects as whom the options say.
func natsClient(t *testing.T, addr string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(20 * time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // or it prints them
	}, opts...)
	nc, err := nats.Connect("nats://"+addr, opts...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// TestRights_NATS runs the suite of buses over an encrypted connection as a user
// who may publish and subscribe on the subject and do nothing else.
func TestRights_NATS(t *testing.T) {
	t.Parallel()
	certificates := servers.NewCertificates(t)
	srv := servers.NATS(t, encrypted(certificates), natsUser([]string{"fleet.*"}, []string{"fleet.*"}))
	relay := servers.RelayTo(t, srv.Addr)
	bustest.Run(t, bustest.Harness{
		Join: func(subject string) (bus.Transport, error) {
			return natsbus.New(natsApp(t, relay.Addr, nats.Secure(certificates.Client)), natsbus.Options{Subject: "fleet." + subject})
		},
		Break: func(context.Context, string) error { relay.Cut(); return nil },
	}, false)
}

// hearsItself subscribes, publishes and waits for what it published, and returns
// what failed.
func hearsItself(t *testing.T, transport bus.Transport) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	var published error
	heard := false
	err := transport.Receive(ctx, bus.Sink{
		Ready: func() {
			if published = transport.Publish(ctx, []byte("x")); published != nil {
				cancel()
			}
		},
		Gap:     func(error) {},
		Deliver: func([]byte) { heard = true; cancel() },
	})
	switch {
	case heard:
		return nil
	case published != nil:
		return published
	}
	return err
}

// TestRights_NATSNoneTooMany: a server says what it refuses beside its answers,
// and nats.go reports success.
func TestRights_NATSNoneTooMany(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		publish, subscribe []string
		want               string
	}{
		"all":               {[]string{"nearbus"}, []string{"nearbus"}, ""},
		"without publish":   {nil, []string{"nearbus"}, `natsbus: publish: .*permissions violation.*Publish to "nearbus"`},
		"without subscribe": {[]string{"nearbus"}, nil, `natsbus: subscribe: .*permissions violation.*Subscription to "nearbus"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := servers.NATS(t, natsUser(c.publish, c.subscribe))
			transport, err := natsbus.New(natsApp(t, srv.Addr), natsbus.Options{})
			require.NoError(t, err)
			err = hearsItself(t, transport)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Regexp(t, c.want, err.Error())
			assert.NotContains(t, err.Error(), secret)
		})
	}
}

// What another user of the same connection may not do is no concern of the bus.
func TestRights_NATSOthersOnTheConnection(t *testing.T) {
	t.Parallel()
	srv := servers.NATS(t, natsUser([]string{"nearbus"}, []string{"nearbus"}))
	nc := natsApp(t, srv.Addr)
	transport, err := natsbus.New(nc, natsbus.Options{})
	require.NoError(t, err)
	for range 100 {
		require.NoError(t, nc.Publish("nearbus.other", nil))
		require.NoError(t, transport.Publish(t.Context(), []byte("x")))
	}
	require.ErrorContains(t, nc.LastError(), `"nearbus.other"`)
}

// streamPublishRights are what a user of a stream must be allowed to publish on;
// it subscribes on inboxRights. docs/operations.md has the same.
var (
	streamPublishRights = []string{
		"nearbus.stream", "$JS.API.STREAM.INFO.NEARBUS", "$JS.API.STREAM.CREATE.NEARBUS",
		"$JS.API.CONSUMER.CREATE.NEARBUS.>", "$JS.API.CONSUMER.MSG.NEXT.NEARBUS.>",
	}
	inboxRights = []string{"_INBOX.>"}
)

// TestRights_JetStreamNoneTooMany: take one right away, whichever, and the
// stream cannot be used. CONSUMER.DELETE is for those who want no consumers
// left for 30 s.
func TestRights_JetStreamNoneTooMany(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, publish, subscribe []string) error {
		t.Helper()
		srv := servers.NATS(t, servers.JetStream, natsUser(publish, subscribe))
		stream, err := natsbus.NewStream(t.Context(), natsApp(t, srv.Addr), natsbus.StreamOptions{})
		if err != nil {
			return err
		}
		return hearsItself(t, stream)
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, try(t, streamPublishRights, inboxRights))
	})
	for _, right := range append(slices.Clone(streamPublishRights), inboxRights...) {
		t.Run("without "+right, func(t *testing.T) {
			t.Parallel()
			others := func(rights []string) []string {
				return slices.DeleteFunc(slices.Clone(rights), func(r string) bool { return r == right })
			}
			err := try(t, others(streamPublishRights), others(inboxRights))
			require.ErrorContains(t, err, "natsbus: ")
			assert.Regexp(t, `permissions violation`, err.Error())
			assert.NotContains(t, err.Error(), secret)
		})
	}
}

// Two applications in accounts of their own do not hear each other, whatever
// their subjects.
func TestRights_NATSAccounts(t *testing.T) {
	t.Parallel()
	one, two := server.NewAccount("one"), server.NewAccount("two")
	srv := servers.NATS(t, func(o *server.Options) {
		o.Accounts = []*server.Account{one, two}
		o.Users = []*server.User{
			{Username: "app", Password: secret, Account: one}, {Username: "other", Password: secret, Account: two},
		}
	})
	join := func(opts ...nats.Option) *busNode {
		transport, err := natsbus.New(natsApp(t, srv.Addr, opts...), natsbus.Options{})
		require.NoError(t, err)
		return startBus(t, transport)
	}
	first, second, other := join(), join(), join(nats.UserInfo("other", secret))
	other.tell(t, "theirs")
	first.tell(t, "ours")
	second.awaitKey(t, "ours")
	other.awaitKey(t, "theirs")
	assert.False(t, second.has("theirs"))
	assert.False(t, other.has("ours"))
}

// TestCredentials_NATS: a connection that is refused says so in what the bus
// reports, and not with the password.
func TestCredentials_NATS(t *testing.T) {
	t.Parallel()
	certificates := servers.NewCertificates(t)
	foreign := servers.NewCertificates(t)
	srv := servers.NATS(t, encrypted(certificates), natsUser([]string{"nearbus"}, []string{"nearbus"}))
	for name, c := range map[string]struct {
		opts []nats.Option
		want string
	}{
		"wrong password":    {[]nats.Option{nats.UserInfo("app", secret+"x"), nats.Secure(certificates.Client)}, "Authorization Violation"},
		"unknown user":      {[]nats.Option{nats.UserInfo("nobody", secret), nats.Secure(certificates.Client)}, "Authorization Violation"},
		"server of another": {[]nats.Option{nats.Secure(foreign.Client)}, "not connected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := natsApp(t, srv.Addr, append(c.opts, nats.RetryOnFailedConnect(true))...)
			transport, err := natsbus.New(nc, natsbus.Options{})
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				err = transport.Publish(t.Context(), []byte("x"))
				require.ErrorContains(t, err, "natsbus: publish: not connected")
				require.NotContains(t, err.Error(), secret)
				return strings.Contains(err.Error(), c.want)
			}, busPatience, 10*time.Millisecond)
			assert.ErrorContains(t, hearsItself(t, transport), c.want)
		})
	}
}

// TestRights_NATSInvalidateOnly: a user who may publish on the subject and no more
// can invalidate by plain text, and neither hear nor do anything else.
func TestRights_NATSInvalidateOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		subject string
		app     *server.Permissions
		join    func(*nats.Conn) (bus.Transport, error)
	}{
		"NATS": {"nearbus-shop", &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"nearbus-shop"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"nearbus-shop"}},
		}, func(nc *nats.Conn) (bus.Transport, error) {
			return natsbus.New(nc, natsbus.Options{Namespace: "shop"})
		}},
		"JetStream": {"nearbus-shop.stream", nil, func(nc *nats.Conn) (bus.Transport, error) {
			return natsbus.NewStream(t.Context(), nc, natsbus.StreamOptions{Namespace: "shop"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := servers.NATS(t, servers.JetStream, func(o *server.Options) {
				o.Users = []*server.User{
					{Username: "app", Password: secret, Permissions: c.app},
					{Username: "tool", Password: secret, Permissions: &server.Permissions{
						Publish:   &server.SubjectPermission{Allow: []string{c.subject}},
						Subscribe: &server.SubjectPermission{Deny: []string{">"}},
					}},
				}
			})
			transport, err := c.join(natsApp(t, srv.Addr))
			require.NoError(t, err)
			node := startBus(t, transport)
			tool := natsApp(t, srv.Addr, nats.UserInfo("tool", secret))
			require.NoError(t, tool.Publish(c.subject, []byte("invalidate users 42")))
			node.awaitKey(t, "42")
			require.NoError(t, tool.LastError())
			for what, try := range map[string]func() error{
				`Publish to "nearbus-other"`:                      func() error { return tool.Publish("nearbus-other", nil) },
				`Publish to "$JS.API.STREAM.DELETE.NEARBUS-shop"`: func() error { return tool.Publish("$JS.API.STREAM.DELETE.NEARBUS-shop", nil) },
				`Subscription to "` + c.subject + `"`:             func() error { _, err := tool.SubscribeSync(c.subject); return err },
			} {
				require.NoError(t, try())
				require.NoError(t, tool.Flush())
				require.ErrorIs(t, tool.LastError(), nats.ErrPermissionViolation)
				require.ErrorContains(t, tool.LastError(), what)
			}
		})
	}
}
