package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearhttp"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// TestPages_AcrossServers: on Redis, a page that one server made is served by the other, and ends
// on both with its tag.
func TestPages_AcrossServers(t *testing.T) {
	t.Parallel()
	var version, calls atomic.Int64
	namespace := uniqueName()
	product := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		nearhttp.Tag(r.Context(), "product:7")
		fmt.Fprintf(w, "version %d", version.Load())
	})
	var sites []*httptest.Server
	var caches []*nearcache.Cache[nearhttp.Response]
	for range 2 {
		client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: sharedRedis(t).Addr}))
		defer client.Close()
		node, err := nearredis.Open(t.Context(), client, nearredis.Options{Namespace: namespace})
		require.NoError(t, err)
		defer node.Close(ended)
		pages, err := nearcache.New(node, "pages", nearcache.Options[nearhttp.Response]{})
		require.NoError(t, err)
		cache, err := nearhttp.New(pages, nearhttp.Options{})
		require.NoError(t, err)
		site := httptest.NewServer(cache.Wrap(product))
		defer site.Close()
		sites, caches = append(sites, site), append(caches, pages)
	}
	get := func(i int) string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sites[i].URL+"/products/7", nil)
		require.NoError(t, err)
		request.Host = "shop.example"
		response, err := sites[i].Client().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(body)
	}
	for v := range int64(20) {
		version.Store(v)
		require.NoError(t, caches[v%2].InvalidateTags(t.Context(), "product:7"))
		want := fmt.Sprint("version ", v)
		assert.Equal(t, want, get(int(v%2)), "the server that invalidated")
		for i := range sites {
			assert.Eventually(t, func() bool { return get(i) == want }, time.Minute, time.Millisecond)
		}
	}
	assert.Equal(t, int64(20), calls.Load(), "each version was made once")
}
