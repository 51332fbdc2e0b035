package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

func Example() {
	store := memstore.New(memstore.Options{})
	defer store.Close()
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := tier.Set(ctx, "user:42", []byte("Ada"), 5*time.Minute); err != nil {
		log.Fatal(err)
	}
	name, err := tier.Get(ctx, "user:42")
	fmt.Printf("%s %v\n", name, err)

	if err := tier.Delete(ctx, "user:42"); err != nil {
		log.Fatal(err)
	}
	_, err = tier.Get(ctx, "user:42")
	fmt.Println(errors.Is(err, driver.ErrNotFound))
	// Output:
	// Ada <nil>
	// true
}
