package compress_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/compress"
	"github.com/nearbus/nearbus/shared/memstore"
)

// Values of 1 KiB and more are compressed; caches and other users of the tier
// notice nothing.
func Example() {
	store := memstore.New(memstore.Options{}) // stands for Redis
	tier, err := shared.New(store, shared.Options{Compress: compress.S2()})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	page := bytes.Repeat([]byte("<li>Ada Lovelace</li>\n"), 1000)
	if err := tier.Set(ctx, "page", page, 0); err != nil {
		log.Fatal(err)
	}
	got, err := tier.Get(ctx, "page")
	fmt.Println(bytes.Equal(page, got), err)

	images, _ := store.Read(ctx, []string{"page"})
	fmt.Println("a tenth at most:", len(images[0]) < len(page)/10)
	// Output:
	// true <nil>
	// a tenth at most: true
}
