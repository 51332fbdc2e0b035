package nearhttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/nearcache/nearhttp"
)

// site is a handler behind a cache, on one server of a fleet.
type site struct {
	http.Handler
	cache *nearhttp.Cache
	pages *nearcache.Cache[nearhttp.Response]
}

// newSite adds a server to a fleet.
func newSite(t *testing.T, fleet *nearcachetest.Memory, handler http.HandlerFunc, opts nearhttp.Options, cacheOpts nearcache.Options[nearhttp.Response]) site {
	t.Helper()
	pages, err := nearcache.New(fleet.Node(nearcache.NodeOptions{}), "pages", cacheOpts)
	require.NoError(t, err)
	cache, err := nearhttp.New(pages, opts)
	require.NoError(t, err)
	return site{Handler: cache.Wrap(handler), cache: cache, pages: pages}
}

// plainSite is a server alone, with the options of production.
func plainSite(t *testing.T, handler http.HandlerFunc) site {
	return newSite(t, nearcachetest.NewMemory(t), handler, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{})
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// cache returns Cache-Status without the name of the cache.
func (a answer) cache() string {
	return strings.TrimPrefix(strings.Join(a.header["Cache-Status"], ", "), "nearbus; ")
}

// get sends a request with headers, each "Name: value", to a handler.
func get(h http.Handler, target string, headers ...string) answer {
	return send(h, http.MethodGet, target, headers...)
}

func send(h http.Handler, method, target string, headers ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	got := w.Result()
	body, _ := io.ReadAll(got.Body) // of a recorder, which does not fail
	return answer{got.StatusCode, got.Header, string(body)}
}

// pass lets time pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
