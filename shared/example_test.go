package shared_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// A Tier is a cache client over any store. With redisstore.New or
// memcachestore.New in the first line, no other line changes.
func Example() {
	store := memstore.New(memstore.Options{})
	tier, err := shared.New(store, shared.Options{TTL: 5 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := tier.Set(ctx, "user:42", []byte("Ada"), 0); err != nil {
		log.Fatal(err)
	}
	value, err := tier.Get(ctx, "user:42")
	fmt.Printf("%s %v\n", value, err)

	if err := tier.Delete(ctx, "user:42"); err != nil {
		log.Fatal(err)
	}
	_, err = tier.Get(ctx, "user:42")
	fmt.Println(errors.Is(err, shared.ErrNotFound))
	// Output:
	// Ada <nil>
	// true
}

// Of all that miss a key, one loads its value. A write that comes in between
// takes the lease away, so that the older value is not stored on top of it.
func ExampleTier_Fill() {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	token := driver.NewNonce()
	got := tier.Acquire(ctx, []shared.Claim{{Key: "user:42", Token: token}})[0]
	if got.Err != nil {
		log.Fatal(got.Err)
	}
	fmt.Println("granted:", got.Status == driver.LeaseGranted)

	loaded := []byte("Ada Byron") // from the source
	if err := tier.Set(ctx, "user:42", []byte("Ada Lovelace"), 0); err != nil {
		log.Fatal(err)
	}

	record := driver.Record{Kind: driver.KindValue, Codec: shared.CodecRaw, Nonce: token, Value: loaded}
	receipt := tier.Fill(ctx, []shared.Put{{Key: "user:42", Record: record, TTL: time.Minute}})[0]
	fmt.Println("lost:", errors.Is(receipt.Err, shared.ErrLeaseLost))
	value, err := tier.Get(ctx, "user:42")
	fmt.Printf("%s %v\n", value, err)
	// Output:
	// granted: true
	// lost: true
	// Ada Lovelace <nil>
}

// away is a store whose server cannot be reached.
type away struct{ driver.Store }

func (away) Read(context.Context, []string) ([][]byte, error) {
	fmt.Println("asked the server")
	return nil, io.ErrUnexpectedEOF
}

// A call whose connection fails is tried again. When calls fail one after the
// other, the breaker keeps the rest from waiting.
func ExampleOptions_breaker() {
	tier, err := shared.New(away{memstore.New(memstore.Options{})}, shared.Options{
		Attempts: 2, BreakAfter: 1, BreakFor: time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		_, err = tier.Get(context.Background(), "user:42")
		fmt.Println(errors.Is(err, shared.ErrOpen), tier.Stats().Open)
	}
	// Output:
	// asked the server
	// asked the server
	// false true
	// true true
	// true true
}
