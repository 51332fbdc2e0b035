package bus_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

func Example() {
	hub := membus.NewHub()
	one, err := bus.New(hub.Join(), bus.Options{Node: "one"})
	if err != nil {
		log.Fatal(err)
	}
	defer one.Close()
	two, err := bus.New(hub.Join(), bus.Options{Node: "two"})
	if err != nil {
		log.Fatal(err)
	}
	defer two.Close()

	ready, applied := make(chan struct{}), make(chan struct{})
	err = two.Subscribe(bus.Handler{
		Apply: func(m bus.Message) {
			for _, inv := range m.Invalidations {
				fmt.Printf("%s deleted %s of %s\n", m.Node, inv.Key, inv.Cache)
			}
			close(applied)
		},
		Gap:   func(error) {}, // forget everything that may have changed
		Ready: func() { close(ready) },
	})
	if err != nil {
		log.Fatal(err)
	}
	<-ready
	user := bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"}
	if err := one.Publish(context.Background(), user); err != nil {
		log.Fatal(err)
	}
	<-applied
	// Output: one deleted 42 of users
}

// A program that looks at a fleet asks who is there. Nobody counts it.
func ExampleBus_RollCall() {
	hub := membus.NewHub()
	quiet := bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}
	web, err := bus.New(hub.Join(), bus.Options{Node: "web-1"})
	if err != nil {
		log.Fatal(err)
	}
	defer web.Close()
	tool, err := bus.New(hub.Join(), bus.Options{Tool: true})
	if err != nil {
		log.Fatal(err)
	}
	defer tool.Close()
	for _, b := range []*bus.Bus{web, tool} {
		if err := b.Subscribe(quiet); err != nil {
			log.Fatal(err)
		}
	}
	peers, err := tool.RollCall(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range peers {
		fmt.Println(p.Node, "is there")
	}
	// Output: web-1 is there
}

// Barrier returns when every process that listens has applied what was published before.
func ExampleBus_Barrier() {
	hub := membus.NewHub()
	one, err := bus.New(hub.Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer one.Close()
	two, err := bus.New(hub.Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer two.Close()
	ready, applied := make(chan struct{}), false
	if err := one.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}); err != nil {
		log.Fatal(err)
	}
	err = two.Subscribe(bus.Handler{
		Apply: func(bus.Message) { applied = true },
		Gap:   func(error) {},
		Ready: func() { close(ready) },
	})
	if err != nil {
		log.Fatal(err)
	}
	<-ready
	ctx := context.Background()
	user := bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"}
	if err := one.Publish(ctx, user); err != nil {
		log.Fatal(err)
	}
	answered, err := one.Barrier(ctx, bus.BarrierOptions{AtLeast: 1})
	fmt.Println(answered, err, applied)
	// Output: 1 <nil> true
}
