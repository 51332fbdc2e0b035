package nearcachetest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/cborcodec"
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

// A test of code that uses caches, with two servers and no waiting.
func ExampleNewMemory() {
	test := func(t *testing.T) { // TestRename
		synctest.Test(t, func(t *testing.T) {
			fleet := nearcachetest.NewMemory(t)
			here, err := nearcache.New(fleet.Node(nearcache.NodeOptions{}), "names", nearcache.Options[string]{})
			if err != nil {
				t.Fatal(err)
			}
			there, err := nearcache.New(fleet.Node(nearcache.NodeOptions{}), "names", nearcache.Options[string]{})
			if err != nil {
				t.Fatal(err)
			}
			if err := here.Set(t.Context(), "42", "Ada"); err != nil {
				t.Fatal(err)
			}
			fleet.Settle() // every server has heard of it
			if name, err := there.Get(t.Context(), "42"); name != "Ada" {
				t.Error(name, err)
			}
		})
	}
	_ = test
}

// A test that a codec keeps all of a type.
func ExampleRoundTrip() {
	type user struct {
		Name string
		Born time.Time
	}
	test := func(t *testing.T) { // TestUser_ComesBack
		born := time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC)
		nearcachetest.RoundTrip(t, cborcodec.New(), user{Name: "Ada", Born: born})
	}
	_ = test
}
