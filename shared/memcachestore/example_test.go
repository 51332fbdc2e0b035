package memcachestore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

func Example() {
	client := memcache.New("localhost:11211")
	client.Timeout = 250 * time.Millisecond
	client.MaxIdleConns = 50
	defer client.Close()

	store, err := memcachestore.New(client, memcachestore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := tier.Set(ctx, "user:42", []byte("Ada"), 40*24*time.Hour); err != nil {
		log.Fatal(err)
	}
	name, err := tier.Get(ctx, "user:42")
	if errors.Is(err, driver.ErrNotFound) {
		fmt.Println("nobody")
		return
	}
	fmt.Printf("%s %v\n", name, err)
}
