package cborcodec_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/cborcodec"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// A fleet goes from JSON to CBOR without a flush. First every process learns to
// read CBOR (ReadCodecs: cborcodec.New()); then they write it, and read what is
// left of JSON.
func Example() {
	store := memstore.New(memstore.Options{}) // stands for the Redis of the fleet
	before := process(store, nearcache.Options[[]int]{ReadCodecs: []shared.Codec{cborcodec.New()}})
	after := process(store, nearcache.Options[[]int]{Codec: cborcodec.New(), ReadCodecs: []shared.Codec{shared.JSON}})
	ctx := context.Background()

	_ = before.Set(ctx, "old", []int{1})
	_ = after.Set(ctx, "new", []int{2})
	v, err := after.Get(ctx, "old")
	fmt.Println(v, err)
	v, err = before.Get(ctx, "new")
	fmt.Println(v, err)
	// Output:
	// [1] <nil>
	// [2] <nil>
}

func process(store driver.Store, opts nearcache.Options[[]int]) *nearcache.Cache[[]int] {
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	cache, err := nearcache.New(node, "numbers", opts)
	if err != nil {
		log.Fatal(err)
	}
	return cache
}
