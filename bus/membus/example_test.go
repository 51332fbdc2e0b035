package membus_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

func Example() {
	hub := membus.NewHub()
	ready, heard := make(chan struct{}), make(chan struct{})
	b, err := bus.New(hub.Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	err = b.Subscribe(bus.Handler{
		Apply: func(m bus.Message) {
			fmt.Println(m.Text, m.Invalidations[0].Cache)
			close(heard)
		},
		Gap:   func(error) {},
		Ready: func() { close(ready) },
	})
	if err != nil {
		log.Fatal(err)
	}
	<-ready
	// Another member of the hub need not be a Bus.
	if err := hub.Join().Publish(context.Background(), []byte("clear users")); err != nil {
		log.Fatal(err)
	}
	<-heard
	// Output: true users
}
