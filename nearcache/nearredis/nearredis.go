// Package nearredis opens a server of a fleet on Redis in one call: a near tier, a shared tier
// in Redis, and a bus over Redis pub/sub.
//
//	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: "localhost:6379"}))
//	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "shop"})
//	users, err := nearcache.New[User](node, "users", nearcache.Options[User]{})
//	...
//	err = node.Close(ctx) // delivers what is pending
//	err = client.Close()
//
// Everything else is package nearcache. Where the bus is NATS, set Options.Transport. For
// Memcached, or shards of Redis, call [nearcache.Open] with a store and a transport.
package nearredis

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// Options configure [Open]. The zero value is the production default.
type Options struct {
	// Namespace keeps fleets apart that share a server: applications, staging and production.
	// It has 1 to 64 of A-Z a-z 0-9 _ - and begins with a letter or a digit. Empty is a
	// namespace as well. Store and bus have it in common, so it must not be set anywhere else.
	Namespace string

	// Store configures what is in Redis, but for the namespace.
	Store redisstore.Options

	// Transport makes what carries the messages, in this namespace, such as one of package
	// natsbus. Nil means Redis pub/sub over the same client, which lets a write and its
	// message be one step.
	Transport func(namespace string) (bus.Transport, error)

	// OpenOptions are those of the node and of the bus: their fields are set as if they were
	// fields of these options, in a composite literal under the name OpenOptions.
	nearcache.OpenOptions
}

// Open returns a node on the server or the servers of client, which is that of one server, of
// Sentinel or of a Cluster; a Ring needs a Transport. The client stays the caller's to close,
// after the node; [Recommend] sets its options.
//
// A server that is away is no error, see [nearcache.Open]. The error names the option that is
// wrong, or is that of ctx.
func Open(ctx context.Context, client redis.UniversalClient, opts Options) (*nearcache.Node, error) {
	if opts.Store.Namespace != "" {
		return nil, fmt.Errorf("nearredis: Options.Store.Namespace is %q: set Options.Namespace", opts.Store.Namespace)
	}
	opts.Store.Namespace = opts.Namespace
	store, err := redisstore.New(client, opts.Store)
	if err != nil {
		return nil, err
	}
	transport, err := opts.transport(client)
	if err != nil {
		return nil, err
	}
	return nearcache.Open(ctx, store, transport, opts.OpenOptions)
}

func (o *Options) transport(client redis.UniversalClient) (bus.Transport, error) {
	if o.Transport != nil {
		transport, err := o.Transport(o.Namespace)
		if err == nil && transport == nil {
			err = errors.New("nearredis: Options.Transport returned nil")
		}
		return transport, err
	}
	return redisbus.New(client, redisbus.Options{Namespace: o.Namespace})
}
