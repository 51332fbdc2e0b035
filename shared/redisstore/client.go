package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// errNowhere is the error of whoever dials the server of a client from nowhere.
var errNowhere = errors.New("redisstore: nothing is there")

// refuse says why a store cannot stand on client, or returns nil. The options of
// go-redis that it looks at, and those that do not matter, are listed in
// clientoptions_test.go.
func refuse(client redis.UniversalClient) error {
	switch c := client.(type) {
	case *redis.Client:
		return refuseOptions(c.Options())
	case *redis.ClusterClient:
		o := c.Options()
		if o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return errors.New("the client reads from replicas: unset ReadOnly, RouteByLatency and RouteRandomly")
		}
		return refuseNodes(o.NewClient, redis.Options{
			ContextTimeoutEnabled: o.ContextTimeoutEnabled, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		})
	case *redis.Ring:
		o := c.Options()
		if err := refuseRing(c); err != nil {
			return err
		}
		return refuseNodes(o.NewClient, redis.Options{
			ContextTimeoutEnabled: o.ContextTimeoutEnabled, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		})
	}
	return fmt.Errorf("the client is a %T: want a *redis.Client, *redis.ClusterClient or *redis.Ring", client)
}

// refuseOptions looks at a client of one server.
func refuseOptions(o *redis.Options) error {
	switch {
	case o.ClientSideCacheConfig != nil || o.ClientSideCache != nil:
		return errors.New("the client reads from a cache of its own, which may be old: unset ClientSideCacheConfig and ClientSideCache")
	case !o.ContextTimeoutEnabled:
		return errors.New("calls of the client outlast their context: set ContextTimeoutEnabled in its options, as nearredis.Recommend does")
	case o.ReadTimeout < 0 || o.WriteTimeout < 0: // go-redis turns -1 into 0, and -2 into this
		return errors.New("calls of the client outlast their context: set ReadTimeout and WriteTimeout to anything but -2")
	}
	return nil
}

// refuseNodes looks at the clients that a Cluster or a Ring makes for its servers, by
// one for a server that is nowhere.
func refuseNodes(newClient func(*redis.Options) *redis.Client, o redis.Options) error {
	o.Dialer = nowhere
	node := newClient(&o)
	defer node.Close()
	return refuseOptions(node.Options())
}

func nowhere(context.Context, string, string) (net.Conn, error) { return nil, errNowhere }

func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// connections returns how many a client of one server has at most.
func (s *Store) connections() int {
	o := s.single.Options()
	if o.MaxActiveConns > 0 {
		return min(o.PoolSize, o.MaxActiveConns)
	}
	return o.PoolSize
}
