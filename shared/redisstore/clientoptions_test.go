package redisstore_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/redisstore"
)

// refusals are the options of go-redis with which a read may be answered by something
// else than the primary, or a call may outlast its context: what sets each, and the
// name that the refusal gives it.
var refusals = map[string]struct {
	client  func(*testing.T) redis.UniversalClient
	mention string
}{
	"Options.ClientSideCacheConfig": {single(func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} }), "ClientSideCacheConfig"},
	"Options.ClientSideCache": {single(func(o *redis.Options) {
		o.ClientSideCache = redis.NewLocalCache(redis.CacheConfig{})
	}), "ClientSideCache"},
	"Options.ContextTimeoutEnabled": {single(func(o *redis.Options) { o.ContextTimeoutEnabled = false }), "ContextTimeoutEnabled"},
	"Options.ReadTimeout":           {single(func(o *redis.Options) { o.ReadTimeout = -2 }), "ReadTimeout"},
	"Options.WriteTimeout":          {single(func(o *redis.Options) { o.WriteTimeout = -2 }), "WriteTimeout"},

	"ClusterOptions.ReadOnly":       {cluster(func(o *redis.ClusterOptions) { o.ReadOnly = true }), "ReadOnly"},
	"ClusterOptions.RouteByLatency": {cluster(func(o *redis.ClusterOptions) { o.RouteByLatency = true }), "RouteByLatency"},
	"ClusterOptions.RouteRandomly":  {cluster(func(o *redis.ClusterOptions) { o.RouteRandomly = true }), "RouteRandomly"},
	"ClusterOptions.NewClient":      {cluster(func(o *redis.ClusterOptions) { o.NewClient = caching }), "ClientSideCacheConfig"},
	"ClusterOptions.ContextTimeoutEnabled": {cluster(func(o *redis.ClusterOptions) {
		o.ContextTimeoutEnabled = false
	}), "ContextTimeoutEnabled"},
	"ClusterOptions.ReadTimeout":  {cluster(func(o *redis.ClusterOptions) { o.ReadTimeout = -2 }), "ReadTimeout"},
	"ClusterOptions.WriteTimeout": {cluster(func(o *redis.ClusterOptions) { o.WriteTimeout = -2 }), "WriteTimeout"},

	"RingOptions.HeartbeatFn":           {ringWith(func(o *redis.RingOptions) { o.HeartbeatFn = nil }), "HeartbeatFn"},
	"RingOptions.NewClient":             {ringWith(func(o *redis.RingOptions) { o.NewClient = caching }), "ClientSideCacheConfig"},
	"RingOptions.ContextTimeoutEnabled": {ringWith(func(o *redis.RingOptions) { o.ContextTimeoutEnabled = false }), "ContextTimeoutEnabled"},
	"RingOptions.ReadTimeout":           {ringWith(func(o *redis.RingOptions) { o.ReadTimeout = -2 }), "ReadTimeout"},
	"RingOptions.WriteTimeout":          {ringWith(func(o *redis.RingOptions) { o.WriteTimeout = -2 }), "WriteTimeout"},

	"FailoverOptions.ContextTimeoutEnabled": {failover(func(o *redis.FailoverOptions) { o.ContextTimeoutEnabled = false }), "ContextTimeoutEnabled"},
	"FailoverOptions.ReadTimeout":           {failover(func(o *redis.FailoverOptions) { o.ReadTimeout = -2 }), "ReadTimeout"},
	"FailoverOptions.WriteTimeout":          {failover(func(o *redis.FailoverOptions) { o.WriteTimeout = -2 }), "WriteTimeout"},
	"FailoverOptions.RouteByLatency":        {failoverCluster(func(o *redis.FailoverOptions) { o.RouteByLatency = true }), "RouteByLatency"},
	"FailoverOptions.RouteRandomly":         {failoverCluster(func(o *redis.FailoverOptions) { o.RouteRandomly = true }), "RouteRandomly"},
	// Of the client of NewFailoverClient it cannot be seen. All of its writes, and
	// all reads of the journal, fail.
	"FailoverOptions.ReplicaOnly": {failoverCluster(func(o *redis.FailoverOptions) { o.ReplicaOnly = true }), "ReadOnly"},
}

// common are options of all clients that do not matter: where the server is, who the
// client is, how it connects, how long it waits and tries, and how many connections it
// has.
const common = `ClientName Dialer OnConnect Protocol Username Password CredentialsProvider
	CredentialsProviderContext StreamingCredentialsProvider MaxRetries MinRetryBackoff MaxRetryBackoff
	DialTimeout DialerRetries DialerRetryTimeout DialerRetryBackoff ReadBufferSize WriteBufferSize
	PipelineReadBufferSize PipelineWriteBufferSize PipelinePoolSize PoolFIFO PoolSize PoolTimeout
	MinIdleConns MaxIdleConns MaxActiveConns ConnMaxIdleTime ConnMaxLifetime ConnMaxLifetimeJitter
	TLSConfig DisableIndentity DisableIdentity IdentitySuffix UnstableResp3 `

// harmless are the options that are not looked at, by struct.
//
// Those of the client-side cache say nothing where it is off. AutoPipelineOptions are
// for a client of another type, which is refused. A Limiter refuses calls, which is an
// error; the package doc says what it must not take for a failure. ClusterSlots says
// which servers are the primaries, NewConsistentHash on which shard a key is, and both
// have to say the same to all processes. ShardPicker chooses the server whose clock
// Time returns. MaintNotificationsConfig makes timeouts longer, and never longer than
// the context. readOnly is set in the clients of a ClusterClient, which nobody holds.
var harmless = map[string]string{
	"Options": common + `Network Addr NodeAddress DB AutoPipelineOptions MaxConcurrentDials maxConcurrentDialsSet
		maxConcurrentDialsInit Limiter readOnly PushNotificationProcessor FailingTimeoutSeconds MaintNotificationsConfig
		ClientSideCacheStrategy ClientSideCacheRefreshOnInvalidate ClientSideCacheCoalesceMisses
		ClientSideCacheInvalidationBatchWindow`,
	"ClusterOptions": common + `Addrs MaxRedirects RouteByLatencyTolerance ClusterSlots MaxConcurrentDials AutoPipelineOptions
		DisableRoutingPolicies PushNotificationProcessor FailingTimeoutSeconds MaintNotificationsConfig ShardPicker
		ClusterStateReloadInterval`,
	"RingOptions": common + `Addrs himport HeartbeatFrequency NewConsistentHash DB Limiter`,
	"FailoverOptions": common + `MasterName SentinelAddrs SentinelUsername SentinelPassword RouteByLatencyTolerance
		UseDisconnectedReplicas DB AutoPipelineOptions MaxConcurrentDials FailingTimeoutSeconds PushNotificationProcessor`,
}

// TestNew_KnowsEveryOption: an option that a new go-redis brings is to be looked at,
// and entered in one of the two lists above.
func TestNew_KnowsEveryOption(t *testing.T) {
	var have, known []string
	for _, o := range []any{redis.Options{}, redis.ClusterOptions{}, redis.RingOptions{}, redis.FailoverOptions{}} {
		for field := range reflect.TypeOf(o).Fields() {
			have = append(have, reflect.TypeOf(o).Name()+"."+field.Name)
		}
	}
	for kind, names := range harmless {
		for name := range strings.FieldsSeq(names) {
			known = append(known, kind+"."+name)
		}
	}
	for name := range refusals {
		known = append(known, name)
	}
	require.ElementsMatch(t, have, known)
}

func TestNew_Refuses(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			_, err := redisstore.New(c.client(t), redisstore.Options{})
			require.ErrorContains(t, err, "redisstore: New: ")
			assert.ErrorContains(t, err, c.mention)
		})
	}
}

// TestNew_TakesWhatIsDocumented: so that the refusals above are for what they set.
func TestNew_TakesWhatIsDocumented(t *testing.T) {
	for _, client := range []redis.UniversalClient{
		single(func(o *redis.Options) { o.ReadTimeout, o.WriteTimeout = -1, -1 })(t),
		cluster(func(o *redis.ClusterOptions) { o.ReadTimeout, o.WriteTimeout = -1, -1 })(t),
		ringWith(func(o *redis.RingOptions) { o.ReadTimeout, o.WriteTimeout = -1, -1 })(t),
		failover(func(*redis.FailoverOptions) {})(t),
		failoverCluster(func(*redis.FailoverOptions) {})(t),
	} {
		_, err := redisstore.New(client, redisstore.Options{})
		require.NoError(t, err, "%T", client)
	}
}

// TestNew_RefusesOtherClients: what other types do is not known. Calls of an
// AutoPipeliner outlast their context.
func TestNew_RefusesOtherClients(t *testing.T) {
	pipeliner, err := unreachable(t).AutoPipeline()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pipeliner.Close() })
	for name, client := range map[string]redis.UniversalClient{
		"*redis.AutoPipeliner":   pipeliner,
		"redisstore_test.loaned": loaned{unreachable(t)},
	} {
		_, err := redisstore.New(client, redisstore.Options{})
		require.EqualError(t, err, "redisstore: New: the client is a "+name+
			": want a *redis.Client, *redis.ClusterClient or *redis.Ring")
	}
}

// loaned is a client of a type of somebody's own.
type loaned struct{ redis.UniversalClient }

func caching(o *redis.Options) *redis.Client {
	o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	return redis.NewClient(o)
}

func single(change func(*redis.Options)) func(*testing.T) redis.UniversalClient {
	return func(t *testing.T) redis.UniversalClient {
		o := redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true}
		change(&o)
		return closing(t, redis.NewClient(&o))
	}
}

func cluster(change func(*redis.ClusterOptions)) func(*testing.T) redis.UniversalClient {
	return func(t *testing.T) redis.UniversalClient {
		o := redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true}
		change(&o)
		return closing(t, redis.NewClusterClient(&o))
	}
}

func ringWith(change func(*redis.RingOptions)) func(*testing.T) redis.UniversalClient {
	return func(t *testing.T) redis.UniversalClient {
		o := redis.RingOptions{
			Addrs: map[string]string{"a": "127.0.0.1:1"}, HeartbeatFn: redisstore.AlwaysUp, ContextTimeoutEnabled: true,
		}
		change(&o)
		return closing(t, redis.NewRing(&o))
	}
}

func failoverOptions(change func(*redis.FailoverOptions)) *redis.FailoverOptions {
	o := redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true}
	change(&o)
	return &o
}

func failover(change func(*redis.FailoverOptions)) func(*testing.T) redis.UniversalClient {
	return func(t *testing.T) redis.UniversalClient {
		return closing(t, redis.NewFailoverClient(failoverOptions(change)))
	}
}

func failoverCluster(change func(*redis.FailoverOptions)) func(*testing.T) redis.UniversalClient {
	return func(t *testing.T) redis.UniversalClient {
		return closing(t, redis.NewFailoverClusterClient(failoverOptions(change)))
	}
}
