// Package redisbus is a bus over Redis pub/sub, on any client of go-redis for one
// server, Sentinel or Cluster. On a Cluster, the package uses sharded pub/sub, which
// needs Redis 7.
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "localhost:6379",
//		MaxRetries:            -1,   // the bus makes one attempt
//		DialerRetries:         1,    // likewise
//		ContextTimeoutEnabled: true, // or a call may outlast its context
//	})
//	transport, err := redisbus.New(client, redisbus.Options{})
//	b, err := bus.New(transport, bus.Options{})
//
// Order: payloads published one after the other arrive in the same order. Duplication:
// none by Redis; a client with retries may publish twice. Loss: Redis keeps nothing for
// a disconnected subscriber, and disconnects a slow subscriber
// (client-output-buffer-limit pubsub). Every end of the connection ends the
// subscription. go-redis would reconnect silently, and the package prevents the
// reconnect. The bus makes connections anew.
//
// A subscription uses a separate connection, in addition to those of the pool. Waiting
// for a message ends at once with its context. Connecting may take as long as the
// timeouts of the client, and so may publishing, unless ContextTimeoutEnabled is set.
//
// Another program invalidates with
//
//	redis-cli PUBLISH nearbus 'invalidate users 42'
//
// and on a Cluster with redis-cli -c SPUBLISH. On one server, or with Sentinel, a store
// with the same client publishes in the writing step.
//
// Rights needed: publish and subscribe, on a Cluster spublish, ssubscribe and
// cluster|slots, and the channel. The package never closes the client.
package redisbus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
)

// Reasons for the end of a subscription.
var (
	errNotConfirmed = errors.New("redisbus: subscribe: the server did not confirm")
	errMoved        = errors.New("redisbus: receive: subscription was made anew or ended by the server")
)

// Options configure a [Transport]. The zero value is the production default.
type Options struct {
	// Namespace keeps fleets apart that share a server: applications, staging and
	// production. It has 1 to 64 of A-Z a-z 0-9 _ -. Give the store the same.
	// Empty is a namespace as well.
	Namespace string

	// Channel is what all processes of the fleet publish on, in place of what
	// follows from Namespace: "nearbus", or "nearbus-" and the namespace.
	Channel string
}

// channel returns the channel that the options ask for.
func (o Options) channel() (string, error) {
	name, err := bus.Namespace(o.Namespace)
	switch {
	case err != nil:
		return "", fmt.Errorf("redisbus: Options.Namespace: %w", err)
	case o.Namespace != "" && o.Channel != "":
		return "", fmt.Errorf("redisbus: Options.Namespace %q and Options.Channel %q exclude each other", o.Namespace, o.Channel)
	case o.Channel != "":
		return o.Channel, nil
	}
	return name, nil
}

// Transport is a [bus.Transport] over Redis.
type Transport struct {
	client  redis.UniversalClient
	single  *redis.Client        // client, if it is of one server
	cluster *redis.ClusterClient // client, if it is of a Cluster
	channel string
	named   string // as in bus.Named
}

var (
	_ bus.Transport  = (*Transport)(nil)
	_ bus.Announcing = (*Transport)(nil)
	_ bus.Named      = (*Transport)(nil)
)

// New returns a Transport over client, which is a *redis.Client or a
// *redis.ClusterClient; one of another type is refused. It does not ask the server. A
// Ring is refused as well: which of its servers carries a channel depends on which of
// them a process can reach, so two processes may not hear each other and not know it.
// So is the client of a Cluster that reads from replicas: it subscribes at one, where
// nobody hears of what the replica missed.
func New(client redis.UniversalClient, opts Options) (*Transport, error) {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("redisbus: New: the client is nil")
	}
	switch c := client.(type) {
	case *redis.Client:
	case *redis.ClusterClient:
		if o := c.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return nil, errors.New("redisbus: New: the client subscribes at replicas: unset ReadOnly, RouteByLatency and RouteRandomly")
		}
	case *redis.Ring:
		return nil, errors.New("redisbus: New: the client is a Ring; give the client of one of its servers")
	default:
		return nil, fmt.Errorf("redisbus: New: the client is a %T: want a *redis.Client or *redis.ClusterClient", client)
	}
	channel, err := opts.channel()
	if err != nil {
		return nil, err
	}
	t := &Transport{client: client, channel: channel}
	if opts.Channel == "" {
		t.named = channel
	}
	t.single, _ = client.(*redis.Client)
	t.cluster, _ = client.(*redis.ClusterClient)
	return t, nil
}

// Endpoint returns the client if it is a *redis.Client, through which a store
// can publish in the step that writes; nil otherwise.
func (t *Transport) Endpoint() any {
	if t.single == nil {
		return nil
	}
	return t.single
}

// Channel returns the channel.
func (t *Transport) Channel() string { return t.channel }

// MaxPayload returns 0: Redis takes any message.
func (t *Transport) MaxPayload() int { return 0 }

// Publish returns when the server has passed payload on.
func (t *Transport) Publish(ctx context.Context, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "publish", err)
	}
	if t.cluster != nil {
		return failed(ctx, "publish", t.cluster.SPublish(ctx, t.channel, payload).Err())
	}
	return failed(ctx, "publish", t.client.Publish(ctx, t.channel, payload).Err())
}

// Namespace implements [bus.Named].
func (t *Transport) Namespace() string { return t.named }

// Receive subscribes on a connection of its own.
func (t *Transport) Receive(ctx context.Context, sink bus.Sink) error {
	pubsub := t.open(ctx)
	// Closing is what wakes the read, which does not heed ctx.
	stop := context.AfterFunc(ctx, func() { _ = pubsub.Close() })
	defer func() {
		stop()
		_ = pubsub.Close() // Nothing is left to lose.
	}()
	err := t.subscribe(ctx, pubsub)
	if err == nil {
		err = t.receive(ctx, pubsub, sink)
	}
	if t.cluster != nil {
		t.cluster.ReloadState(ctx) // The channel may have another server now.
	}
	return err
}

// open returns a PubSub that is not connected yet.
func (t *Transport) open(ctx context.Context) *redis.PubSub {
	if t.cluster != nil {
		return t.cluster.SSubscribe(ctx)
	}
	return t.client.Subscribe(ctx)
}

// subscribe returns when the server has confirmed the subscription.
func (t *Transport) subscribe(ctx context.Context, pubsub *redis.PubSub) error {
	subscribe := pubsub.Subscribe
	if t.cluster != nil {
		subscribe = pubsub.SSubscribe
	}
	if err := subscribe(ctx, t.channel); err != nil {
		return failed(ctx, "subscribe", err)
	}
	reply, err := pubsub.Receive(ctx)
	if err != nil {
		return failed(ctx, "subscribe", err)
	}
	if s, ok := reply.(*redis.Subscription); !ok || s.Count == 0 {
		return errNotConfirmed
	}
	return nil
}

// receive delivers until anything but a message comes. A further confirmation
// shows that go-redis connected again, or that the server ended the
// subscription, because the slot of the channel moved.
func (t *Transport) receive(ctx context.Context, pubsub *redis.PubSub, sink bus.Sink) error {
	sink.Ready()
	var payload []byte
	for {
		reply, err := pubsub.Receive(ctx)
		if err != nil {
			return failed(ctx, "receive", err)
		}
		switch reply := reply.(type) {
		case *redis.Message:
			if ctx.Err() != nil {
				return failed(ctx, "receive", ctx.Err())
			}
			payload = append(payload[:0], reply.Payload...)
			sink.Deliver(payload)
		case *redis.Subscription:
			return errMoved
		}
	}
}

// failed names err, and makes it the error of ctx if that has ended. The
// deadline of a socket can pass a moment before that of its context.
func failed(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	end := ctx.Err()
	if deadline, ok := ctx.Deadline(); end == nil && ok && !time.Now().Before(deadline) {
		end = context.DeadlineExceeded
	}
	if end != nil && !errors.Is(err, end) {
		return fmt.Errorf("redisbus: %s: %w (%w)", op, end, err)
	}
	if unsharded(err) {
		return fmt.Errorf("redisbus: %s: the Cluster has no sharded pub/sub: it needs Redis 7.0 or later, or Valkey: %w", op, err)
	}
	return fmt.Errorf("redisbus: %s: %w", op, err)
}

// unsharded reports whether a server does not know a command of sharded pub/sub.
func unsharded(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "unknown command") && (strings.Contains(text, "ssubscribe") || strings.Contains(text, "spublish"))
}
