package bus_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// A client in any language invalidates by a line of text, as redis-cli PUBLISH and nats pub do.
func Example_plainText() {
	hub := membus.NewHub()
	b, err := bus.New(hub.Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ready, heard := make(chan struct{}), make(chan bus.Message, 1)
	err = b.Subscribe(bus.Handler{
		Apply: func(m bus.Message) { heard <- m },
		Gap:   func(error) {},
		Ready: func() { close(ready) },
	})
	if err != nil {
		log.Fatal(err)
	}
	<-ready
	if err := hub.Join().Publish(context.Background(), []byte(`invalidate users 42 "John Smith"`)); err != nil {
		log.Fatal(err)
	}
	m := <-heard
	for _, inv := range m.Invalidations {
		fmt.Println(m.Text, inv.Op == bus.OpInvalidate, inv.Cache, inv.Key)
	}
	// Output:
	// true true users 42
	// true true users John Smith
}
