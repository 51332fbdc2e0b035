package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache/nearredis"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// connection is where the fleet is, as it was typed.
type connection struct {
	storeURL, busURL string
	namespace        string
	partitions       int
	ca, cert, key    string
	creds            string
}

// addresses adds the flags that say where the fleet is.
func (c *connection) addresses(fs *flag.FlagSet) {
	fs.StringVar(&c.storeURL, "store", "", "the shared tier, as a `url`")
	fs.StringVar(&c.busURL, "bus", "", "the bus, as a `url`; that of -store if it is Redis")
	fs.StringVar(&c.namespace, "namespace", "", "the `name` that the servers have as Namespace")
	fs.IntVar(&c.partitions, "partitions", 0, "the `number` that the servers have as Partitions")
	fs.StringVar(&c.ca, "ca", "", "`file` with the certificates that servers are signed by")
	fs.StringVar(&c.cert, "cert", "", "`file` with the certificate of this client")
	fs.StringVar(&c.key, "key", "", "`file` with the key of -cert")
	fs.StringVar(&c.creds, "creds", "", "`file` with credentials of NATS")
}

// Schemes of URLs.
var (
	storeSchemes = []string{"redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel", "memcached"}
	busSchemes   = []string{
		"nats", "tls", "nats+jetstream", "tls+jetstream",
		"redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel",
	}
)

// fleet is what the program has opened of a fleet.
type fleet struct {
	inv        *invocation
	store, bus *address // nil if there is none

	redis    redis.UniversalClient // of the store; nil for another one
	busRedis redis.UniversalClient // of the bus; likewise
	memcache *memcache.Client
	nats     *nats.Conn

	transport bus.Transport
	channel   string // that the transport uses, as people say it
	looks     bool   // whoever opened it makes no stream
	closers   []func() error
}

// limited returns a context that ends with ctx, and after -timeout.
func (inv *invocation) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, inv.timeout)
}

// tidying is how long the program takes at most to remove what it wrote, and for its goodbye.
func (inv *invocation) tidying() time.Duration { return min(inv.timeout/10, time.Second) }

// interrupted reports whether ctx ended before its time.
func interrupted(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// open opens the clients of a fleet, of which the one of the bus is needed. Close closes them.
func (inv *invocation) open(ctx context.Context) (*fleet, error) {
	f, err := inv.openStore()
	if err != nil {
		return nil, err
	}
	if err := f.openBus(ctx); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// openStore opens the client of the shared tier, if it is given.
func (inv *invocation) openStore() (*fleet, error) {
	f := &fleet{inv: inv}
	if inv.storeURL == "" {
		return f, nil
	}
	var err error
	if f.store, err = parseAddress("store", inv.storeURL, storeSchemes...); err != nil {
		return nil, err
	}
	if f.store.kind() != "memcached" {
		f.redis, err = f.openRedis("store", f.store)
		return f, err
	}
	f.memcache = memcache.New(f.store.hosts...)
	f.memcache.Timeout, f.memcache.MaxIdleConns = time.Second, 16
	f.closers = append(f.closers, f.memcache.Close)
	return f, nil
}

// answerWithin is how long the program waits for one answer of a server, a part of -timeout.
func (inv *invocation) answerWithin() time.Duration { return min(inv.timeout/3, 5*time.Second) }

// openRedis opens a client of Redis.
func (f *fleet) openRedis(flag string, a *address) (redis.UniversalClient, error) {
	security, err := f.inv.security(a)
	if err != nil {
		return nil, err
	}
	db, name := 0, a.path
	if a.kind() == "redis+sentinel" {
		name = a.query.Get("db")
	}
	if name != "" {
		if db, err = strconv.Atoi(name); err != nil || db < 0 {
			return nil, usagef("-%s: %q is no number of a database", flag, name)
		}
	}
	var client redis.UniversalClient
	wait := f.inv.answerWithin()
	switch a.kind() {
	case "redis+cluster":
		client = redis.NewClusterClient(nearredis.Recommend(&redis.ClusterOptions{
			Addrs: a.hosts, Username: a.user, Password: a.password, TLSConfig: security,
			DialTimeout: wait, ReadTimeout: wait, WriteTimeout: wait,
		}))
	case "redis+sentinel":
		if a.path == "" {
			return nil, usagef("-%s: want %s://HOST:PORT/NAME, with the name of the master", flag, a.scheme)
		}
		client = redis.NewFailoverClient(nearredis.Recommend(&redis.FailoverOptions{
			SentinelAddrs: a.hosts, MasterName: a.path, Username: a.user, Password: a.password, DB: db, TLSConfig: security,
			SentinelUsername: a.query.Get("sentinel_user"), SentinelPassword: a.query.Get("sentinel_password"),
			DialTimeout: wait, ReadTimeout: wait, WriteTimeout: wait,
		}))
	default:
		if len(a.hosts) > 1 {
			return nil, usagef("-%s has several hosts: want %s+cluster:// or %s+sentinel://", flag, a.scheme, a.scheme)
		}
		client = redis.NewClient(nearredis.Recommend(&redis.Options{
			Addr: a.hosts[0], Username: a.user, Password: a.password, DB: db, TLSConfig: security,
			DialTimeout: wait, ReadTimeout: wait, WriteTimeout: wait,
		}))
	}
	f.closers = append(f.closers, client.Close)
	return client, nil
}

// security returns how connections are encrypted, nil if they are not.
func (inv *invocation) security(a *address) (*tls.Config, error) {
	if !a.encrypted() {
		return nil, nil
	}
	host, _, _ := net.SplitHostPort(a.hosts[0]) // it has a port
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if inv.ca != "" {
		pem, err := os.ReadFile(inv.ca)
		if err != nil {
			return nil, usagef("-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("-ca: %s has no certificate", inv.ca)
		}
	}
	if (inv.cert == "") != (inv.key == "") {
		return nil, usagef("-cert and -key belong together")
	}
	if inv.cert != "" {
		pair, err := tls.LoadX509KeyPair(inv.cert, inv.key)
		if err != nil {
			return nil, usagef("-cert, -key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// openBus opens the transport of the bus.
func (f *fleet) openBus(ctx context.Context) (err error) {
	switch {
	case f.inv.busURL != "":
		if f.bus, err = parseAddress("bus", f.inv.busURL, busSchemes...); err != nil {
			return err
		}
	case f.redis != nil:
		f.bus = f.store
	default:
		return usagef("where is the bus? Give -bus or %s, or -store or %s if it is Redis", variable("bus"), variable("store"))
	}
	switch {
	case strings.HasPrefix(f.bus.kind(), "nats"):
		return f.openNATS(ctx)
	case f.bus == f.store || f.inv.busURL == f.inv.storeURL:
		f.busRedis = f.redis
	default:
		if f.busRedis, err = f.openRedis("bus", f.bus); err != nil {
			return err
		}
	}
	transport, err := redisbus.New(f.busRedis, redisbus.Options{Namespace: f.inv.namespace})
	if err != nil {
		return flagError(err)
	}
	f.transport, f.channel = transport, "channel "+transport.Channel()
	return nil
}

func (f *fleet) openNATS(ctx context.Context) error {
	a := f.bus
	security, err := f.inv.security(a)
	if err != nil {
		return err
	}
	opts := []nats.Option{
		nats.Name("nearbus"), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(100 * time.Millisecond),
		nats.PingInterval(2 * time.Second), nats.Timeout(f.inv.answerWithin()),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // or it prints them
	}
	if security != nil {
		opts = append(opts, nats.Secure(security))
	}
	switch {
	case a.password != "":
		opts = append(opts, nats.UserInfo(a.user, a.password))
	case a.user != "":
		opts = append(opts, nats.Token(a.user))
	}
	if f.inv.creds != "" {
		opts = append(opts, nats.UserCredentials(f.inv.creds))
	}
	if f.nats, err = connectNATS(ctx, "nats://"+strings.Join(a.hosts, ",nats://"), opts); err != nil {
		return fmt.Errorf("the bus: %s: %w", a, err)
	}
	f.closers = append(f.closers, func() error { f.nats.Close(); return nil })
	name, _ := bus.Namespace(f.inv.namespace)
	f.channel = "subject " + cmp.Or(name, "nearbus")
	if strings.HasSuffix(a.kind(), "+jetstream") {
		f.channel += ".stream"
		if f.looks {
			return nil // the transport would make a stream
		}
		return f.openStream(ctx)
	}
	transport, err := natsbus.New(f.nats, natsbus.Options{Namespace: f.inv.namespace})
	if err != nil {
		return flagError(err)
	}
	f.transport = transport
	return nil
}

// connectNATS is [nats.Connect], which tries one server after the other, unless ctx ends: then the
// goroutine ends by itself, or with the program.
func connectNATS(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	type connected struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan connected, 1)
	go func() {
		conn, err := nats.Connect(url, opts...)
		done <- connected{conn, err}
	}()
	select {
	case c := <-done:
		return c.conn, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fleet) openStream(ctx context.Context) error {
	transport, err := natsbus.NewStream(ctx, f.nats, natsbus.StreamOptions{Namespace: f.inv.namespace})
	if err == nil {
		f.transport = transport
	}
	return err
}

// streamName returns the name of the stream of the namespace.
func (f *fleet) streamName() string {
	name, _ := bus.Namespace(f.inv.namespace) // it is valid
	return "NEARBUS" + strings.TrimPrefix(name, "nearbus")
}

// flagError is the error of a constructor, which names options, as one of what was typed.
func flagError(err error) error {
	return usageError{errors.New(strings.NewReplacer("Options.Namespace", "-namespace", "Options.Partitions", "-partitions").Replace(tell(err)))}
}

// untrimmed is the length of a journal that the program never trims: that is up to the servers.
const untrimmed = math.MaxInt

// tier returns a shared tier over the store, nil if there is none. Without a journal its writes
// enter nothing there.
func (f *fleet) tier(journal bool) (*shared.Tier, error) {
	var store driver.Store
	var err error
	switch length := untrimmed; {
	case f.redis != nil:
		if !journal {
			length = -1
		}
		store, err = redisstore.New(f.redis, redisstore.Options{
			Namespace: f.inv.namespace, Partitions: f.inv.partitions, JournalLength: length,
		})
	case f.memcache != nil:
		store, err = memcachestore.New(f.memcache, memcachestore.Options{Namespace: f.inv.namespace})
	default:
		return nil, nil
	}
	if err != nil {
		return nil, flagError(err)
	}
	return shared.New(store, shared.Options{})
}

func (f *fleet) close() (err error) {
	for _, c := range slices.Backward(f.closers) {
		err = errors.Join(err, c())
	}
	return err
}
