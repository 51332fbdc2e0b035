package neardebug_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/nearcache/neardebug"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// odd are keys that a page could stumble over.
var odd = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "a&b=c#d?e", "line\nbreak", "\xff\xfe\x00", "ключ", " space ",
	"javascript:alert(1)", strings.Repeat("k", 1000), "{{.}}", "%zz", "../../json",
}

const secret = "a value that nobody may see"

// scene is two servers with a cache, whose second one is closed.
func scene(t *testing.T) (*nearcache.Node, *nearcache.Cache[string], *nearcachetest.Memory) {
	t.Helper()
	fleet := nearcachetest.NewMemory(t)
	node := fleet.Node(nearcache.NodeOptions{})
	users, err := nearcache.New(node, "users", nearcache.Options[string]{Tags: func(string, string) []string { return []string{"<b>team"} }})
	require.NoError(t, err)
	other := fleet.Node(nearcache.NodeOptions{})
	_, err = nearcache.New(other, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	require.NoError(t, users.Set(t.Context(), "42", secret))
	for _, key := range odd {
		_, err := users.Fetch(t.Context(), key, func(context.Context, string) (string, error) { return secret, nil })
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return node.Health().Peers.Heard == 1 }, 20*time.Second, time.Millisecond)
	return node, users, fleet
}

func get(t *testing.T, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w
}

// TestHandler_Page: under any path; odd keys are escaped and their links lead to them; there
// are no values and no scripts.
func TestHandler_Page(t *testing.T) {
	t.Parallel()
	node, _, _ := scene(t)
	h := neardebug.Handler(node)
	for _, at := range []string{"/", "/debug/nearbus/", "/a/key/"} {
		w := get(t, h, at)
		require.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		page := w.Body.String()
		for _, part := range []string{"trusted", "<code>string</code>", "1 other server", "NearTTL", "Stale.For", "nearbus_node_gaps_total", `href="key?cache=users&amp;key=%3cscript`} {
			assert.True(t, strings.Contains(page, part), part)
		}
		assert.NotContains(t, page, secret)
		assert.NotContains(t, page, "<script")
		assert.NotContains(t, page, "<img")
	}
	assert.Equal(t, "5", get(t, h, "/?every=5").Header().Get("Refresh"))
}

// TestHandler_Key: each odd key is looked at, as page and as JSON, and found near.
func TestHandler_Key(t *testing.T) {
	t.Parallel()
	node, _, _ := scene(t)
	h := neardebug.Handler(node)
	for _, key := range append(odd, "42") {
		query := "/debug/key?cache=users&key=" + url.QueryEscape(key)
		w := get(t, h, query)
		require.Equal(t, http.StatusOK, w.Code, key)
		page := w.Body.String()
		assert.Contains(t, page, "hit: the near tier has the value", key)
		assert.Contains(t, page, "&lt;b&gt;team")
		assert.NotContains(t, page, secret)
		assert.NotContains(t, page, "<script")
		assert.NotContains(t, page, "<img")

		w = get(t, h, query+"&format=json")
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var found nearcache.Inspection
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &found), "%s", w.Body)
		assert.Equal(t, nearcache.OutcomeHit, found.Outcome)
		assert.NotContains(t, w.Body.String(), secret)
	}
	assert.Contains(t, get(t, h, "/key?cache=users&key=none").Body.String(), "miss: nothing is near, and the shared tier has no value")
}

// TestHandler_JSON: what the page shows, for programs.
func TestHandler_JSON(t *testing.T) {
	t.Parallel()
	node, users, _ := scene(t)
	_, err := users.Get(t.Context(), "42")
	require.NoError(t, err)
	var got struct {
		Health struct{ Trusted bool }
		Caches []struct {
			Name, Type string
			Entries    int
			HitRatio   float64
			Options    []struct{ Name, Value string }
			Numbers    map[string]float64
			Costly     struct{ Loads []struct{ Key string } }
		}
		Journals []struct{ Applied string }
		Peers    []struct {
			Name   string
			Silent bool
		}
		Numbers map[string]float64
	}
	w := get(t, neardebug.Handler(node), "/debug/json")
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	assert.True(t, got.Health.Trusted)
	require.Len(t, got.Caches, 1)
	assert.Equal(t, "users", got.Caches[0].Name)
	assert.Equal(t, len(odd)+1, got.Caches[0].Entries)
	assert.InDelta(t, 1/float64(len(odd)+1), got.Caches[0].HitRatio, 0.01)
	assert.Contains(t, got.Caches[0].Options, struct{ Name, Value string }{"NearTTL", "5m0s"})
	assert.EqualValues(t, 1, got.Caches[0].Numbers["nearbus_cache_hits_total"])
	assert.Len(t, got.Caches[0].Costly.Loads, len(odd))
	require.Len(t, got.Journals, 1)
	require.Len(t, got.Peers, 1)
	assert.False(t, got.Peers[0].Silent)
	assert.Contains(t, got.Numbers, "nearbus_bus_holes_total")
	assert.NotContains(t, w.Body.String(), secret)
}

// TestHandler_BadInput: hostile requests are refused, and nothing is written.
func TestHandler_BadInput(t *testing.T) {
	t.Parallel()
	node, _, _ := scene(t)
	h := neardebug.Handler(node)
	for target, want := range map[string]int{
		"/?every=0": 400, "/?every=x": 400, "/?every=99999999999999999999": 400, "/?every=5;url=http://example.com": 200, // a semicolon separates nothing, and the query has no every
		"/key": 400, "/key?cache=none&key=k": 400, "/key?cache=users&key=": 400, "/key?cache=users&key=" + strings.Repeat("k", 2000): 400,
		"/key?cache=users&key=k" + strings.Repeat("&tag=t", 65): 400, "/key?key=" + strings.Repeat("k", 20_000): 414,
		"/key?cache=%3Cscript%3Ealert(1)%3C/script%3E&key=k": 400,
		"/other": 404, "/style.css": 200, "/page.html": 404, "/debug": 404,
	} {
		w := get(t, h, target)
		assert.Equal(t, want, w.Code, target)
		if want >= 400 {
			assert.Contains(t, w.Header().Get("Content-Type"), "text/plain")
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut, "INVALIDATE"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/key?cache=users&key=42", nil))
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
	}
}

// TestHandler_SharedTierDown: the page comes, and a key that is near is shown.
func TestHandler_SharedTierDown(t *testing.T) {
	t.Parallel()
	node, _, fleet := scene(t)
	fleet.FailShared(errors.New("<down>"))
	h := neardebug.Handler(node)
	assert.Equal(t, http.StatusOK, get(t, h, "/").Code)
	assert.Contains(t, get(t, h, "/key?cache=users&key=42").Body.String(), "hit: the near tier has the value")
	assert.Contains(t, get(t, h, "/key?cache=users&key=7").Body.String(), "cannot be read: &lt;down&gt;")
	require.NoError(t, node.Close(t.Context()))
	assert.Contains(t, get(t, h, "/").Body.String(), "not trusted: the node is closed")
	assert.Equal(t, http.StatusBadRequest, get(t, h, "/key?cache=users&key=7").Code)
}

// stalled is a store whose reads of records wait.
type stalled struct {
	*memstore.Store
	open chan struct{} // closed when they need not wait any more
}

func (s *stalled) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	<-s.open
	return s.Store.ReadProven(ctx, keys)
}

// TestHandler_ManyLooks: more than four at a time are refused.
func TestHandler_ManyLooks(t *testing.T) {
	t.Parallel()
	store := &stalled{memstore.New(memstore.Options{}), make(chan struct{})}
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	require.NoError(t, err)
	defer node.Close(t.Context())
	_, err = nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	h := neardebug.Handler(node)
	codes := make(chan int, 5)
	for range 5 {
		go func() { codes <- get(t, h, "/key?cache=users&key=7").Code }()
	}
	assert.Equal(t, http.StatusServiceUnavailable, <-codes)
	close(store.open)
	for range 4 {
		assert.Equal(t, http.StatusOK, <-codes)
	}
}
