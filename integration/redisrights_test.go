package integration_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// What a user of Redis must be allowed, for each feature. docs/operations.md has
// the same.
var (
	storeRights = []string{
		"+get", "+mget", "+set", "+setrange", "+getrange", "+time", "+evalsha", "+eval",
	}
	touchRights   = []string{"+pexpireat"}
	longRights    = []string{"+rename"} // of values of 2 KiB or more, at less cost
	journalRights = []string{"+xadd", "+xrange", "+xrevrange", "+del", "+info"}
	busRights     = []string{"+publish", "+subscribe"}
	shardedRights = []string{"+spublish", "+ssubscribe", "+cluster|slots"}

	// Without it the client of a Cluster works, but asks for it each time, in
	// vain, and logs that.
	quietRights = []string{"+command"}
)

// secret is the password of users, which no error may contain.
const secret = "s3cret-Pa55word"

// allow makes a user with these rights, for keys with a prefix and one channel.
func allow(t testing.TB, admin *redis.Client, name, prefix, channel string, rights []string) {
	t.Helper()
	rules := []any{"ACL", "SETUSER", name, "reset", "on", ">" + secret, "~" + prefix + ":*"}
	if channel != "" {
		rules = append(rules, "&"+channel)
	}
	for _, right := range rights {
		rules = append(rules, right)
	}
	require.NoError(t, admin.Do(t.Context(), rules...).Err())
}

// as returns a client of a user.
func as(t testing.TB, addr, name, password string, encryption *tls.Config) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr: addr, Username: name, Password: password, TLSConfig: encryption,
		PoolSize: 50, MaxRetries: -1, DialerRetries: 1, DialTimeout: 2 * time.Second, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func together(rights ...[]string) []string { return slices.Concat(rights...) }

// TestRights_RedisStore runs the suite of stores over an encrypted connection as
// a user who may do nothing else.
func TestRights_RedisStore(t *testing.T) {
	certificates := servers.NewCertificates(t)
	server, secure := servers.RedisTLS(t, certificates)
	allow(t, newRedis(t, server.Addr), "app", "test-*", "channel*", together(storeRights, touchRights, journalRights, busRights[:1]))
	storetest.Run(t, redisHarness(as(t, secure, "app", secret, certificates.Client)), false)
}

func TestRights_RedisBus(t *testing.T) {
	t.Parallel()
	certificates := servers.NewCertificates(t)
	server, secure := servers.RedisTLS(t, certificates)
	allow(t, newRedis(t, server.Addr), "app", "none", "bustest-*", busRights)
	bustest.Run(t, bustest.Harness{
		Join: func(channel string) (bus.Transport, error) {
			return redisbus.New(as(t, secure, "app", secret, certificates.Client), redisbus.Options{Channel: channel})
		},
		Break: func(ctx context.Context, _ string) error { return killSubscribers(ctx, server.Addr) },
	}, false)
}

// exercise uses each command that a store needs, and returns what failed.
func exercise(t testing.TB, admin, client *redis.Client, prefix, channel string) error {
	t.Helper()
	require.NoError(t, admin.ScriptFlush(t.Context()).Err()) // so that EVAL is needed
	store, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	ctx, key := t.Context(), uniqueName()
	var failures []error
	put := func(w driver.Write) {
		failures = append(failures, store.Write(ctx, []driver.Write{w})[0].Err)
	}
	_, err = store.Time(ctx)
	failures = append(failures, err)
	tail := store.Tail(ctx, []driver.TailRead{{Limit: 10}})[0]
	failures = append(failures, tail.Err, tail.Warning)
	put(driver.Write{Key: key, Image: value(1, "v"), TTL: time.Minute})
	put(driver.Write{Key: key, Image: tombstone(2), TTL: time.Minute, KeepStale: true})
	payload := make([]byte, 20)
	put(driver.Write{Key: key, Image: value(3, "v"), Announce: &driver.Announcement{Channel: channel, Payload: payload}})
	lease := driver.Record{Kind: driver.KindLease, Nonce: 4}
	failures = append(failures,
		store.Acquire(ctx, []driver.Lease{{Key: key + "x", Image: lease.Append(nil), TTL: time.Second}})[0].Err,
		store.Fill(ctx, []driver.Write{{Key: key + "x", Image: value(4, "v"), TTL: time.Minute}})[0].Err)
	for _, keys := range [][]string{{key}, {key, key + "x"}} {
		_, err = store.Read(ctx, keys)
		failures = append(failures, err)
	}
	failures = append(failures, store.Tail(ctx, []driver.TailRead{{From: tail.Next, Limit: 10}})[0].Err)
	return errors.Join(failures...)
}

// listenOnce subscribes and publishes, and returns what failed.
func listenOnce(t testing.TB, client redis.UniversalClient, channel string) error {
	t.Helper()
	transport, err := redisbus.New(client, redisbus.Options{Channel: channel})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), busPatience)
	defer cancel()
	var published error
	err = transport.Receive(ctx, bus.Sink{
		Ready: func() {
			if published = transport.Publish(ctx, []byte("x")); published != nil {
				cancel()
			}
		},
		Gap:     func(error) {},
		Deliver: func([]byte) { cancel() },
	})
	if errors.Is(err, context.Canceled) {
		return published
	}
	return err
}

// TestRights_RedisNoneTooMany: take one right away, whichever, and something fails, or
// warns, with an error that says so and has no password in it.
func TestRights_RedisNoneTooMany(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	admin := newRedis(t, server.Addr)
	all := together(storeRights, journalRights, busRights)
	try := func(name, pattern, channel string, rights []string) error {
		prefix := uniqueName()
		allow(t, admin, name, strings.ReplaceAll(pattern, "PREFIX", prefix), channel, rights)
		client := as(t, server.Addr, name, secret, nil)
		return errors.Join(exercise(t, admin, client, prefix, "news"), listenOnce(t, client, "news"))
	}
	require.NoError(t, try("all", "PREFIX", "news", all))
	for _, right := range all {
		err := try("without"+right[1:], "PREFIX", "news", slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right }))
		requireRefusal(t, err, right)
	}
	requireRefusal(t, try("otherkeys", "other-PREFIX", "news", all), "the keys")
	requireRefusal(t, try("otherchannel", "PREFIX", "others", all), "the channel")
	requireRefusal(t, try("nochannel", "PREFIX", "", all), "any channel")
}

func requireRefusal(t *testing.T, err error, without string) {
	t.Helper()
	require.Error(t, err, "without %s", without)
	assert.Regexp(t, "NOPERM|the server does not say in scripts", err.Error())
	assert.NotContains(t, err.Error(), secret)
	assert.Regexp(t, "redisstore: |redisbus: ", err.Error())
}

// TestRights_RedisCluster: sharded pub/sub, and what the client of a Cluster
// asks to find the servers.
func TestRights_RedisCluster(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, clusterMasters)
	try := func(name string, rights []string) error {
		for _, addr := range cluster.Addrs() {
			allow(t, newRedis(t, addr), name, "fleet", "news", rights)
		}
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: cluster.Addrs(), Username: name, Password: secret, MaxRedirects: 3, ContextTimeoutEnabled: true,
		})
		defer client.Close()
		store, err := redisstore.New(client, redisstore.Options{Prefix: "fleet"})
		require.NoError(t, err)
		var failures []error
		for i := range 10 {
			failures = append(failures, putRecord(t.Context(), store, fmt.Sprint(i), value(driver.NewNonce(), "v")))
		}
		for _, tail := range store.Tail(t.Context(), []driver.TailRead{{Partition: 0, Limit: 1}, {Partition: 1, Limit: 1}}) {
			failures = append(failures, tail.Err)
		}
		return errors.Join(errors.Join(failures...), listenOnce(t, client, "news"))
	}
	all := together(storeRights, journalRights, shardedRights, quietRights)
	require.NoError(t, try("all", all))
	for _, right := range shardedRights {
		err := try("without"+right[1:], slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right }))
		require.Error(t, err, "without %s", right)
		assert.NotContains(t, err.Error(), secret)
	}
}

// TestRedisBus_ClusterWithoutShardedPubSub: as Redis before 7 is.
func TestRedisBus_ClusterWithoutShardedPubSub(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 1, "--rename-command", "SSUBSCRIBE", "", "--rename-command", "SPUBLISH", "")
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true})
	defer client.Close()
	transport, err := redisbus.New(client, redisbus.Options{})
	require.NoError(t, err)
	const want = "the Cluster has no sharded pub/sub: it needs Redis 7.0 or later"
	require.ErrorContains(t, transport.Publish(t.Context(), []byte("x")), want)
	require.ErrorContains(t, listenOnce(t, client, "elsewhere"), want)
}

// TestCredentials_Redis: what is wrong is said, and not with the password.
func TestCredentials_Redis(t *testing.T) {
	t.Parallel()
	certificates := servers.NewCertificates(t)
	server, secure := servers.RedisTLS(t, certificates)
	admin := newRedis(t, server.Addr)
	allow(t, admin, "app", "test-*", "news", together(storeRights, journalRights, busRights))
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "default", "resetpass").Err())
	foreign := servers.NewCertificates(t)
	unsigned := certificates.Client.Clone()
	unsigned.Certificates = nil
	for name, c := range map[string]struct {
		client *redis.Client
		want   string
	}{
		"wrong password": {as(t, secure, "app", secret+"x", certificates.Client), "WRONGPASS"},
		"unknown user":   {as(t, secure, "nobody", secret, certificates.Client), "WRONGPASS"},
		// The server ends the connection of whoever sends much before a password.
		"no password":       {as(t, secure, "", "", certificates.Client), "(NOAUTH|unauthenticated|EOF)"},
		"server of another": {as(t, secure, "app", secret, foreign.Client), "certificate"},
		// With TLS 1.3 a client may write before the server has looked, and be told by a
		// reset that overtakes what the server says.
		"no certificate":           {as(t, secure, "app", secret, unsigned), "(certificate|reset by peer|broken pipe)"},
		"no encryption":            {as(t, secure, "app", secret, nil), ""},
		"encryption where is none": {as(t, server.Addr, "app", secret, certificates.Client), ""},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := redisstore.New(c.client, redisstore.Options{Prefix: uniqueName()})
			require.NoError(t, err)
			requireCause(t, listenOnce(t, c.client, "news"), c.want)
			for _, err := range everyCall(t, store) {
				requireCause(t, err, c.want)
			}
		})
	}
}

// everyCall returns the errors of all calls of a store, alone and together with others.
func everyCall(t *testing.T, store *redisstore.Store) []error {
	t.Helper()
	write := func(key string) driver.Write { return driver.Write{Key: key, Image: value(driver.NewNonce(), "v")} }
	lease := driver.Record{Kind: driver.KindLease, Nonce: 4}
	leases := []driver.Lease{{Key: "a", Image: lease.Append(nil)}, {Key: "b", Image: lease.Append(nil)}}
	_, failure := store.Time(t.Context())
	errs := []error{failure}
	for n := range 2 {
		_, err := store.Read(t.Context(), []string{"a", "b"}[:n+1])
		errs = append(errs, err,
			store.Write(t.Context(), []driver.Write{write("a"), write("b")}[:n+1])[n].Err,
			store.Fill(t.Context(), []driver.Write{write("a"), write("b")}[:n+1])[n].Err,
			store.Acquire(t.Context(), leases[:n+1])[n].Err,
			store.Tail(t.Context(), make([]driver.TailRead, n+1))[n].Err)
	}
	return errs
}

func requireCause(t *testing.T, err error, want string) {
	t.Helper()
	require.Error(t, err)
	assert.Regexp(t, want, err.Error())
	assert.NotRegexp(t, "unexpected (type|answer)", err.Error())
	assert.NotContains(t, err.Error(), secret)
}

// TestCredentials_RedisRing: of several servers, each refuses.
func TestCredentials_RedisRing(t *testing.T) {
	t.Parallel()
	one, two := servers.Redis(t), servers.Redis(t)
	for _, server := range []*servers.Process{one, two} {
		require.NoError(t, newRedis(t, server.Addr).ConfigSet(t.Context(), "requirepass", secret).Err())
	}
	ring := redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"one": one.Addr, "two": two.Addr}, Password: secret + "x",
		HeartbeatFn: redisstore.AlwaysUp, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
	})
	defer ring.Close()
	for _, err := range everyCall(t, journalOn(t, ring, redisstore.Options{})) {
		requireCause(t, err, "WRONGPASS")
	}
}

// TestRights_RedisInvalidateOnly: a user who may publish on the channel and no more
// can invalidate by plain text, and neither hear nor do anything else.
func TestRights_RedisInvalidateOnly(t *testing.T) {
	t.Parallel()
	server, channel := servers.Redis(t), "nearbus-shop"
	admin := newRedis(t, server.Addr)
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "tool", "reset", "on", ">"+secret, "&"+channel, "+publish").Err())
	node := startBus(t, redisTransport(t, server.Addr, channel))
	tool := as(t, server.Addr, "tool", secret, nil)
	require.NoError(t, tool.Publish(t.Context(), channel, "invalidate users 42").Err())
	node.awaitKey(t, "42")
	for _, command := range [][]any{
		{"GET", "nearbus-shop:k"}, {"DEL", "nearbus-shop:k"}, {"SUBSCRIBE", channel}, {"PUBLISH", "nearbus", "clear users"}, {"FLUSHALL"},
	} {
		assert.ErrorContains(t, tool.Do(t.Context(), command...).Err(), "NOPERM", command)
	}
}
