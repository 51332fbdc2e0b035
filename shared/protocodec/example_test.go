package protocodec_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/protocodec"
)

// The type of the cache is the pointer to a generated message.
func Example() {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	limits, err := nearcache.New(node, "limits", nearcache.Options[*durationpb.Duration]{Codec: protocodec.New()})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	_ = limits.Set(ctx, "42", durationpb.New(time.Minute))
	limit, err := limits.Get(ctx, "42")
	fmt.Println(limit.AsDuration(), err)
	// Output: 1m0s <nil>
}
