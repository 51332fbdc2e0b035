package neardebug_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/neardebug"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// A program serves the page beside its other diagnostics.
func ExampleHandler() {
	tier, _ := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	node, _ := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	defer node.Close(context.Background())

	mux := http.NewServeMux()
	mux.Handle("/debug/nearbus/", neardebug.Handler(node))

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/debug/nearbus/", nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
