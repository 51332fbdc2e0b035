package nearcachetest_test

import (
	"context"
	"fmt"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// A store or transport of your own takes the place of those in memory. In a
// test, Run gives every case a subtest.
func Example() {
	store, hub := memstore.New(memstore.Options{}), membus.NewHub()
	fleet := nearcachetest.Fleet{Join: func(context.Context) (*nearcache.Node, error) {
		tier, err := shared.New(store, shared.Options{})
		if err != nil {
			return nil, err
		}
		b, err := bus.New(hub.Join(), bus.Options{})
		if err != nil {
			return nil, err
		}
		return nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	}}
	if err := nearcachetest.Check(context.Background(), fleet); err != nil {
		fmt.Println(err)
	} else {
		fmt.Println("every guarantee was kept")
	}
	// Output: every guarantee was kept
}
