package simulate

import (
	"context"
	"net"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
)

// subscriber has the connection of a subscription closed by the network when the
// subscription is to end. The client of Redis would close it, too, once it has a lock,
// which it holds while it connects; and in a bubble no time passes while somebody waits
// for a lock.
type subscriber struct{ *redisbus.Transport }

// subscription is the key of a context that holds itself, for those who get one that is
// derived from it.
type subscription struct{}

func (s subscriber) Receive(ctx context.Context, sink bus.Sink) error {
	return s.Transport.Receive(context.WithValue(ctx, subscription{}, ctx), sink)
}

// endsWith closes c when the subscription ends that it was made for, if it was made for
// one.
func endsWith(ctx context.Context, c net.Conn) net.Conn {
	if whole, ok := ctx.Value(subscription{}).(context.Context); ok {
		context.AfterFunc(whole, func() { _ = c.Close() })
	}
	return c
}
