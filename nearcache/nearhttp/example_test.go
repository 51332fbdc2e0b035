package nearhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearhttp"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// A store and a hub in memory stand for the servers that a fleet has in common.
var (
	store = memstore.New(memstore.Options{})
	hub   = membus.NewHub()
)

// newPages stands for nearredis.Open and nearcache.New of a service.
func newPages() (*nearcache.Node, *nearcache.Cache[nearhttp.Response]) {
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(hub.Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	pages, err := nearcache.New(node, "pages", nearcache.Options[nearhttp.Response]{
		Stale: nearcache.Stale{For: time.Hour}, // stale-if-error
	})
	if err != nil {
		log.Fatal(err)
	}
	return node, pages
}

// A page that one server made is served by another. An editor, on the other server, changes
// the product, and the first server makes the page anew.
func Example() {
	price := 10
	product := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nearhttp.Tag(r.Context(), "product:7")
		w.Header().Set("Cache-Control", "max-age=300")
		fmt.Fprintf(w, "price %d", price)
	})
	serve := func() (*nearcache.Cache[nearhttp.Response], http.Handler, func()) { // one server
		node, pages := newPages()
		cache, err := nearhttp.New(pages, nearhttp.Options{
			Vary: []nearhttp.Vary{nearhttp.Among("Accept-Encoding", "br", "gzip")},
		})
		if err != nil {
			log.Fatal(err)
		}
		return pages, cache.Wrap(product), func() { _ = node.Close(context.Background()) }
	}
	_, one, closeOne := serve()
	defer closeOne()
	pages, two, closeTwo := serve()
	defer closeTwo()

	fmt.Println(body(one), body(two))
	price = 11
	if err := pages.InvalidateTags(context.Background(), "product:7"); err != nil {
		log.Fatal(err)
	}
	for body(one) == "price 10" { // a moment for the message, one hop of the bus
		time.Sleep(time.Millisecond)
	}
	fmt.Println(body(one), body(two))
	// Output:
	// price 10 price 10
	// price 11 price 11
}

// body returns what a server answers.
func body(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://shop.example/products/7", nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}

// Cache-Status says what became of a request.
func ExampleCache_Wrap() {
	node, pages := newPages()
	defer node.Close(context.Background())
	cache, err := nearhttp.New(pages, nearhttp.Options{})
	if err != nil {
		log.Fatal(err)
	}
	h := cache.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		if r.URL.Path == "/account" {
			w.Header().Set("Cache-Control", "private")
		}
	}))
	for _, path := range []string{"/about", "/about", "/account"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		status, _, _ := strings.Cut(w.Header().Get("Cache-Status"), "; ttl=") // in seconds
		fmt.Println(status)
	}
	// Output:
	// nearbus; fwd=miss; fwd-status=200; stored
	// nearbus; hit
	// nearbus; fwd=bypass; detail=private
}

// The handler names what a page shows, and a change of any of these ends the page.
func ExampleTag() {
	ctx := context.Background()
	node, pages := newPages()
	defer node.Close(ctx)
	cache, err := nearhttp.New(pages, nearhttp.Options{})
	if err != nil {
		log.Fatal(err)
	}
	h := cache.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nearhttp.Tag(r.Context(), "category:books", "product:7", "product:8")
		fmt.Println("makes", r.URL.Path)
	}))
	ask := func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/books", nil)) }
	ask()
	ask() // from the cache
	fmt.Println(pages.InvalidateTags(ctx, "product:8"))
	ask()
	// Output:
	// makes /books
	// <nil>
	// makes /books
}

// A page depends on one of a few languages, whatever the client sends.
func ExampleAmong() {
	language := nearhttp.Among("Accept-Language", "en", "de")
	for _, header := range []string{"de-AT, en;q=0.8", "fr, en;q=0.5", "fr"} {
		fmt.Printf("%q\n", language.Reduce(header))
	}
	// Output:
	// "de"
	// "en"
	// ""
}
