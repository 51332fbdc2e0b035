package natsbus_test

import (
	"context"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
)

func Example() {
	nc, err := nats.Connect("nats://localhost:4222",
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100*time.Millisecond),
		nats.PingInterval(2*time.Second),
		nats.RetryOnFailedConnect(true),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	transport, err := natsbus.New(nc, natsbus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(transport, bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	user := bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"}
	if err := b.Publish(context.Background(), user); err != nil {
		log.Print(err)
	}
}

// A stream replays what was published while the connection was lost.
func ExampleNewStream() {
	nc, err := nats.Connect("nats://localhost:4222",
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100*time.Millisecond),
		nats.PingInterval(2*time.Second),
		nats.RetryOnFailedConnect(true),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stream, err := natsbus.NewStream(ctx, nc, natsbus.StreamOptions{
		Replicas: 3, // of the servers of a cluster
	})
	if err != nil {
		log.Fatal(err) // the stream is there and cannot do what is needed
	}
	b, err := bus.New(stream, bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
}
