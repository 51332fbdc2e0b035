package bustest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/bus/natsbus"
)

// A Faulty transport shows what a program does when messages are lost.
func ExampleFaulty() {
	link := bustest.NewFaulty(membus.NewHub().Join())
	b, err := bus.New(link, bus.Options{HeartbeatInterval: 50 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	ready, gap := make(chan struct{}, 100), make(chan error, 100)
	err = b.Subscribe(bus.Handler{
		Apply: func(bus.Message) {},
		Gap:   func(reason error) { gap <- reason },
		Ready: func() { ready <- struct{}{} },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-ready
	link.Set(bustest.Fault{Drop: 1})
	fmt.Println(<-gap)
	link.Set(bustest.Fault{})
	<-ready
	fmt.Println(b.Publish(context.Background(), bus.Invalidation{Op: bus.OpClear, Cache: "users"}))
	// Output:
	// bus: own heartbeat did not come back
	// <nil>
}

// The whole test of a transport: a function TestConformance(t *testing.T).
func ExampleRun() {
	var conn *nats.Conn // to the server that the transport is over
	conformance := func(t *testing.T) {
		bustest.Run(t, bustest.Harness{Join: func(channel string) (bus.Transport, error) {
			return natsbus.New(conn, natsbus.Options{Subject: channel})
		}}, false)
	}
	_ = conformance
}
