package nearhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/nearcache/nearhttp"
)

// A page is made once for two servers. Its tag, invalidated on one of them, ends it on both.
func TestCache_AcrossServers(t *testing.T) {
	fleet := nearcachetest.NewMemory(t)
	var price, calls atomic.Int64
	price.Store(10)
	product := func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		nearhttp.Tag(r.Context(), "product:7")
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "price %d", price.Load())
	}
	one := newSite(t, fleet, product, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{})
	two := newSite(t, fleet, product, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{})
	servers := []*httptest.Server{httptest.NewServer(one), httptest.NewServer(two)}
	fetch := func(i int) (body, status string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, servers[i].URL+"/products/7", nil)
		require.NoError(t, err)
		r.Host = "shop.example"
		resp, err := servers[i].Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(text), strings.TrimPrefix(resp.Header.Get("Cache-Status"), "nearbus; ")
	}
	for _, s := range servers {
		defer s.Close()
	}
	body, status := fetch(0)
	assert.Equal(t, "price 10", body)
	assert.Contains(t, status, "fwd=miss; fwd-status=200; stored; ttl=")
	for _, want := range []string{"shared", "near"} {
		body, status = fetch(1)
		assert.Equal(t, "price 10", body)
		assert.Regexp(t, `^hit; ttl=\d+; detail=`+want+"$", status)
	}
	assert.Equal(t, int64(1), calls.Load())

	price.Store(11)
	require.NoError(t, two.pages.InvalidateTags(t.Context(), "product:7"))

	body, _ = fetch(1)
	assert.Equal(t, "price 11", body, "the server that invalidated")
	assert.Eventually(t, func() bool { body, _ := fetch(0); return body == "price 11" }, time.Minute, time.Millisecond)
	assert.Equal(t, int64(2), calls.Load())
}

// What must not be shared comes from the handler each time, whatever else is true.
func TestCache_NeverShares(t *testing.T) {
	for name, test := range map[string]struct{ response, request string }{
		"Set-Cookie":           {response: "Set-Cookie: session=1"},
		"private":              {response: "Cache-Control: max-age=60, Private"},
		"private with a field": {response: `Cache-Control: max-age=60, private="X-User, X-Name"`},
		"no-store":             {response: "Cache-Control: no-store"},
		"no-cache":             {response: "Cache-Control: no-cache"},
		"max-age=0":            {response: "Cache-Control: max-age=0"},
		"s-maxage=0":           {response: "Cache-Control: max-age=60, s-maxage=0"},
		"unreadable max-age":   {response: "Cache-Control: max-age=soon"},
		"expired":              {response: "Expires: 0"},
		"Vary *":               {response: "Vary: *"},
		"Vary on a header":     {response: "Vary: User-Agent"},
		"Vary on one of two":   {response: "Vary: Accept-Encoding, Cookie"},
		"old already":          {response: "Age: 4000"},
		"trailers":             {response: "Trailer: X-Sum"},
		"event stream":         {response: "Content-Type: text/event-stream"},
		"a header in Latin-1":  {response: "X-Name: caf\xe9"},
		"Authorization":        {request: "Authorization: Basic YTpi"},
		"Cookie":               {request: "Cookie: session=1"},
		"If-Match":             {request: `If-Match: "a"`},
		"If-Unmodified-Since":  {request: "If-Unmodified-Since: Tue, 01 Jan 2030 00:00:00 GMT"},
		"Upgrade":              {request: "Upgrade: websocket"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			s := plainSite(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				if header, value, ok := strings.Cut(test.response, ": "); ok {
					w.Header().Set(header, value)
				}
				fmt.Fprintf(w, "%s %d", r.Header.Get("X-Client"), calls)
			})
			for i := range 5 {
				before := calls
				headers := []string{"X-Client: " + strconv.Itoa(i)}
				if test.request != "" {
					headers = append(headers, test.request)
				}
				got := get(s, "/", headers...)
				assert.Equal(t, fmt.Sprintf("%d %d", i, before+1+btoi(i == 0 && test.request == "")), got.body, "request %d", i)
				assert.Regexp(t, "^fwd=bypass", got.cache())
			}
			assert.LessOrEqual(t, calls, 6, "twice at most for who found out, then once each")
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Requests at the same time share a page that may be shared, and nothing else: not a response
// that turns out to be for one client.
func TestCache_WaitersGetNoPrivateResponse(t *testing.T) {
	for _, header := range []string{"Cache-Control: private", "Set-Cookie: a=b", "Vary: Cookie", "Cache-Control: no-store"} {
		name, value, _ := strings.Cut(header, ": ")
		account := func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Millisecond) // the others come
			w.Header().Set(name, value)
			fmt.Fprint(w, r.Header.Get("Cookie"))
		}
		s := newSite(t, nearcachetest.NewMemory(t), account, nearhttp.Options{DropCookies: true}, nearcache.Options[nearhttp.Response]{})
		var clients sync.WaitGroup
		for i := range 50 {
			clients.Go(func() {
				user := fmt.Sprintf("user=%d", i)
				assert.Equal(t, user, get(s, "/account", "Cookie: "+user).body, header)
			})
		}
		clients.Wait()
	}
}

// A handler sees nothing of a client that is not in the key, so that no client puts anything
// into the page of another.
func TestCache_NoClientPoisonsAPage(t *testing.T) {
	var seen http.Header
	var address string
	s := newSite(t, nearcachetest.NewMemory(t), func(w http.ResponseWriter, r *http.Request) {
		seen, address = r.Header.Clone(), r.RemoteAddr
		fmt.Fprint(w, "https://", r.Header.Get("X-Forwarded-Host"), r.Host)
	}, nearhttp.Options{DropCookies: true, Pass: []string{"traceparent"}}, nearcache.Options[nearhttp.Response]{})
	got := get(s, "http://shop.example/", "X-Forwarded-Host: evil.example", "Cookie: a=b", "User-Agent: x", "Traceparent: 00-1", "Range: bytes=0-1")
	assert.Equal(t, http.StatusPartialContent, got.status)
	assert.Equal(t, http.Header{"Traceparent": {"00-1"}}, seen)
	assert.Empty(t, address)
	assert.Equal(t, "https://shop.example", get(s, "http://shop.example/").body)
	assert.Equal(t, "https://evil.example", get(s, "http://evil.example/").body, "another key")
	assert.Equal(t, uint64(2), s.cache.Stats().Made)
}

// Whatever clients send in a header that pages depend on, there are no more variants than the
// header has values.
func TestCache_HostileVary(t *testing.T) {
	s := newSite(t, nearcachetest.NewMemory(t), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "accept-language")
		fmt.Fprint(w, r.Header["Accept-Language"])
	}, nearhttp.Options{Vary: []nearhttp.Vary{nearhttp.Among("Accept-Language", "en", "de")}}, nearcache.Options[nearhttp.Response]{})
	for accepted, want := range map[string]string{
		"de":                       "[de]",
		"de-AT, en;q=0.5":          "[de]",
		"en;q=0.8, de;q=0.9":       "[de]",
		"fr, *;q=0.1":              "[en]",
		"*, en;q=0":                "[de]",
		"DE;q=1.000":               "[de]",
		"en;q=2, de;q=-1, de;q=":   "[]",
		"fr":                       "[]",
		"":                         "[]",
		strings.Repeat("de,", 400): "[]", // too long
		"de\x00;;;=,,,;q=q":        "[]",
	} {
		assert.Equal(t, want, get(s, "/", "Accept-Language: "+accepted).body, accepted)
	}
	for i := range 1000 {
		get(s, "/", fmt.Sprintf("Accept-Language: x%d, de-%d;q=0.%d", i, i, i))
	}
	assert.Equal(t, uint64(3), s.cache.Stats().Made)
}

func TestCache_Conditions(t *testing.T) {
	const modified = "Tue, 01 Jan 2019 00:00:00 GMT"
	s := plainSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/validators" {
			w.Header().Set("ETag", `W/"1"`)
			w.Header().Set("Last-Modified", modified)
		}
		fmt.Fprint(w, "0123456789")
	})
	first := get(s, "/validators", `If-None-Match: W/"1"`)
	assert.Equal(t, http.StatusNotModified, first.status, "of a page that was made for it")
	assert.Contains(t, first.cache(), "fwd=miss")
	for _, test := range []struct {
		header string
		status int
		body   string
	}{
		{"If-None-Match: W/\"1\"", 304, ""},
		{"If-None-Match: \"0\", \"1\"", 304, ""},
		{"If-None-Match: *", 304, ""},
		{"If-None-Match: \"2\"", 200, "0123456789"},
		{"If-Modified-Since: " + modified, 304, ""},
		{"If-Modified-Since: Mon, 31 Dec 2018 00:00:00 GMT", 200, "0123456789"},
		{"Range: bytes=2-4", 206, "234"},
		{"Range: bytes=99-", 416, "invalid range: failed to overlap\n"},
	} {
		got := get(s, "/validators", test.header)
		assert.Equal(t, test.status, got.status, test.header)
		assert.Equal(t, test.body, got.body, test.header)
		assert.Contains(t, got.cache(), "hit; ", test.header)
	}
	assert.Equal(t, uint64(1), s.cache.Stats().Made)

	got := get(s, "/")
	etag := got.header.Get("ETag")
	assert.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, etag)
	assert.Equal(t, 304, get(s, "/", "If-None-Match: "+etag).status)
	assert.Equal(t, etag, get(s, "/?again").header.Get("ETag"), "by the body")
	head := send(s, http.MethodHead, "/")
	assert.Equal(t, "10", head.header.Get("Content-Length"))
	assert.Empty(t, head.body)
	assert.Contains(t, head.cache(), "hit; ")
}

// A response is stored for as long as it says, or as long as the option does.
func TestCache_Lifetimes(t *testing.T) {
	for _, test := range []struct {
		status int
		header string
		stored time.Duration // zero: not
	}{
		{200, "", time.Minute},
		{200, "Cache-Control: max-age=10", 10 * time.Second},
		{200, "Cache-Control: MAX-AGE = \"10\" , foo", 10 * time.Second},
		{200, "Cache-Control: max-age=10, s-maxage=20", 20 * time.Second},
		{200, "Cache-Control: public", time.Minute},
		{200, "Expires: Sat, 01 Jan 2000 00:00:30 GMT", 30 * time.Second},
		{404, "", 0},
		{404, "Cache-Control: max-age=10", 10 * time.Second},
		{301, "Cache-Control: max-age=10", 10 * time.Second},
		{403, "Cache-Control: max-age=10", 0},
		{500, "Cache-Control: max-age=10", 0},
		{206, "Cache-Control: max-age=10", 0},
	} {
		synctest.Test(t, func(t *testing.T) { // which begins in the year 2000
			calls := 0
			s := plainSite(t, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				name, value, _ := strings.Cut(test.header, ": ")
				w.Header().Set(name, value)
				w.WriteHeader(test.status)
				fmt.Fprint(w, "body")
			})
			began := time.Now()
			got := get(s, "/")
			assert.Equal(t, test.status, got.status)
			assert.Equal(t, "body", got.body)
			if test.stored == 0 {
				assert.NotContains(t, got.cache(), "stored")
				get(s, "/")
				assert.Equal(t, 2, calls, "%d %s", test.status, test.header)
				return
			}
			pass(test.stored/2 - time.Since(began))
			got = get(s, "/")
			assert.Equal(t, "body", got.body)
			assert.InDelta(t, test.stored.Seconds()/2, number(got.header.Get("Age")), 1)
			assert.Equal(t, 1, calls, "%d %s", test.status, test.header)
			pass(test.stored/2 + time.Second)
			get(s, "/")
			assert.Greater(t, calls, 1, "%d %s", test.status, test.header)
		})
	}
}

// A lifetime that is too long to be true is a year.
func TestCache_LongestLifetime(t *testing.T) {
	s := plainSite(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=99999999999999999999")
	})
	assert.Regexp(t, `stored; ttl=315(36000|35999)$`, get(s, "/").cache())
}

func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1
	}
	return n
}

// Options.Stale is stale-if-error, as far as the page allows.
func TestCache_StaleIfError(t *testing.T) {
	for _, test := range []struct {
		directive string
		stale     bool
	}{
		{"max-age=10", true},
		{"max-age=10, stale-if-error=100", true},
		{"max-age=10, stale-if-error=5", false},
		{"max-age=10, must-revalidate", false},
		{"max-age=10, proxy-revalidate", false},
		{"s-maxage=10", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			fail := false
			s := newSite(t, nearcachetest.NewMemory(t), func(w http.ResponseWriter, _ *http.Request) {
				if fail {
					w.WriteHeader(http.StatusServiceUnavailable)
					fmt.Fprint(w, "away")
					return
				}
				w.Header().Set("Cache-Control", test.directive)
				fmt.Fprint(w, "page")
			}, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{Stale: nearcache.Stale{For: time.Hour}})
			get(s, "/")
			fail = true
			pass(30 * time.Second)
			got := get(s, "/")
			if test.stale {
				assert.Equal(t, "page", got.body, test.directive)
				assert.Equal(t, "hit; ttl=-20; detail=stale", got.cache())
				assert.Equal(t, "30", got.header.Get("Age"))
				assert.Equal(t, uint64(1), s.cache.Stats().Stale)
			} else {
				assert.Equal(t, http.StatusServiceUnavailable, got.status, test.directive)
				assert.Equal(t, "away", got.body)
			}
			got = get(s, "/other")
			assert.Equal(t, http.StatusServiceUnavailable, got.status)
			assert.Equal(t, "fwd=miss; fwd-status=503", got.cache())
		})
	}
}

// RefreshAhead is stale-while-revalidate. A handler that has a page with a validator is asked
// whether it changed, and confirms it.
func TestCache_RefreshesAndConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, confirmed := 0, 0
		s := newSite(t, nearcachetest.NewMemory(t), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("X-Number", strconv.Itoa(full+confirmed))
			if r.Header.Get("If-None-Match") == `"1"` {
				confirmed++
				nearhttp.Tag(r.Context(), "brand:1")
				w.WriteHeader(http.StatusNotModified)
				return
			}
			full++
			nearhttp.Tag(r.Context(), "product:7") // not where it confirms
			time.Sleep(time.Second)
			fmt.Fprint(w, "page")
		}, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{TTL: time.Minute, RefreshAhead: 20 * time.Second})
		get(s, "/")
		pass(45 * time.Second)
		began := time.Now()
		got := get(s, "/")
		assert.Equal(t, "page", got.body)
		assert.Contains(t, got.cache(), "hit; ")
		assert.Zero(t, time.Since(began), "nobody waits")
		synctest.Wait()
		pass(30 * time.Second)
		got = get(s, "/")
		assert.Equal(t, "page", got.body)
		assert.Equal(t, "30", got.header.Get("Age"), "since it was confirmed")
		assert.Equal(t, "1", got.header.Get("X-Number"), "headers are those of the confirmation")
		assert.Equal(t, []int{1, 1}, []int{full, confirmed})

		for i, tag := range []string{"product:7", "brand:1"} { // what it had, and what came later
			require.NoError(t, s.pages.InvalidateTags(t.Context(), tag))
			get(s, "/")
			assert.Equal(t, 2+i, full, tag)
			if i == 0 {
				pass(45 * time.Second)
				get(s, "/") // confirms it
				synctest.Wait()
			}
		}
	})
}

// A successful change of a URL ends its pages before the client hears of it.
func TestCache_ChangesInvalidateTheirURL(t *testing.T) {
	version := 1
	s := newSite(t, nearcachetest.NewMemory(t), func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			fmt.Fprint(w, version, r.Header["Accept-Language"])
		case r.URL.Query().Get("fail") != "" || r.Header.Get("X-Fail") != "":
			w.WriteHeader(http.StatusConflict)
		default:
			version++
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusSeeOther)
			}
		}
	}, nearhttp.Options{Vary: []nearhttp.Vary{nearhttp.Among("Accept-Language", "de")}}, nearcache.Options[nearhttp.Response]{})
	read := func() []string {
		return []string{get(s, "/a").body, get(s, "/a", "Accept-Language: de").body, get(s, "/b").body}
	}
	assert.Equal(t, []string{"1 []", "1 [de]", "1 []"}, read())
	send(s, http.MethodPost, "/a", "X-Fail: 1")
	version = 5
	assert.Equal(t, []string{"1 []", "1 [de]", "1 []"}, read(), "it failed")
	assert.Equal(t, "fwd=method", send(s, http.MethodPost, "/a").cache())
	assert.Equal(t, []string{"6 []", "6 [de]", "1 []"}, read())
	send(s, http.MethodPut, "/a")
	assert.Equal(t, []string{"7 []", "7 [de]", "1 []"}, read())
	send(s, http.MethodOptions, "/a")
	assert.Equal(t, []string{"7 []", "7 [de]", "1 []"}, read())
}

// The client of a change that asks again at once is not given the old page.
func TestCache_ChangesInvalidateFirst(t *testing.T) {
	version := 1
	s := plainSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			version++
		}
		fmt.Fprint(w, version)
	})
	assert.Equal(t, "1", get(s, "/").body)
	w := &askingWriter{ResponseWriter: httptest.NewRecorder(), ask: func() string { return get(s, "/").body }}
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	assert.Equal(t, "2", w.answer)
}

// askingWriter is a client that asks as soon as it is answered.
type askingWriter struct {
	http.ResponseWriter
	ask    func() string
	answer string
}

func (w *askingWriter) Write(p []byte) (int, error) {
	w.answer = w.ask()
	return len(p), nil
}

// Responses without an end go straight to the client, and the next time at once.
func TestCache_Endless(t *testing.T) {
	var calls atomic.Int64
	s := plainSite(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintln(w, i, strings.Repeat("x", 1000)); err != nil || r.Context().Err() != nil {
				return
			}
			if r.URL.Path == "/flushes" {
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		}
	})
	server := httptest.NewServer(s)
	defer server.Close()
	for path, size := range map[string]int{"/flushes": 10 << 10, "/fills": 4 << 20} {
		before := calls.Load()
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
			require.NoError(t, err)
			resp, err := server.Client().Do(r)
			require.NoError(t, err)
			_, err = io.ReadFull(resp.Body, make([]byte, size))
			require.NoError(t, err)
			assert.Regexp(t, "^nearbus; fwd=bypass; detail=(endless|too-large)$", resp.Header.Get("Cache-Status"))
			cancel()
			_ = resp.Body.Close()
		}
		assert.Equal(t, before+4, calls.Load(), "the first one found out")
	}
	stats := s.cache.Stats()
	assert.Equal(t, []uint64{1, 1, 6}, []uint64{stats.Endless, stats.TooLarge, stats.Passed})
}

// A handler that panics is seen to panic; one that says a length and writes less is not stored.
func TestCache_BrokenHandlers(t *testing.T) {
	s := plainSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panics" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "too short")
	})
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { get(s, "/panics") })
	assert.Equal(t, "fwd=bypass; detail=unfit", get(s, "/short").cache())
	assert.Equal(t, uint64(1), s.cache.Stats().Unfit)
}

// While the shared tier is down, pages come from the handler.
func TestCache_SharedTierIsDown(t *testing.T) {
	fleet := nearcachetest.NewMemory(t)
	s := newSite(t, fleet, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{})
	fleet.FailShared(errors.New("away"))
	got := get(s, "/")
	assert.Equal(t, 200, got.status)
	assert.Equal(t, "page", got.body)
}

// After the node was closed, the handler answers alone.
func TestCache_Closed(t *testing.T) {
	fleet := nearcachetest.NewMemory(t)
	node := fleet.Node(nearcache.NodeOptions{})
	pages, err := nearcache.New(node, "pages", nearcache.Options[nearhttp.Response]{})
	require.NoError(t, err)
	cache, err := nearhttp.New(pages, nearhttp.Options{})
	require.NoError(t, err)
	h := cache.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
	require.NoError(t, node.Close(t.Context()))
	assert.Equal(t, "page", get(h, "/").body)
	assert.Equal(t, uint64(1), cache.Stats().Failures)
}

// Handlers that see one path have pages of their own.
func TestCache_PatternsTellHandlersApart(t *testing.T) {
	fleet := nearcachetest.NewMemory(t)
	mux := http.NewServeMux()
	s := newSite(t, fleet, nil, nearhttp.Options{}, nearcache.Options[nearhttp.Response]{})
	for _, name := range []string{"/a/", "/b/"} {
		h := s.cache.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		mux.Handle(name, http.StripPrefix(name[:2], h))
	}
	assert.Equal(t, "/a/", get(mux, "/a/x").body)
	assert.Equal(t, "/b/", get(mux, "/b/x").body)
}

func TestNew_Refuses(t *testing.T) {
	fleet := nearcachetest.NewMemory(t)
	pages, err := nearcache.New(fleet.Node(nearcache.NodeOptions{}), "pages", nearcache.Options[nearhttp.Response]{})
	require.NoError(t, err)
	_, err = nearhttp.New(nil, nearhttp.Options{})
	assert.EqualError(t, err, "nearhttp: the cache of pages is nil")
	for want, opts := range map[string]nearhttp.Options{
		"nearhttp: Options.MaxBody is -1: want more than 0":                              {MaxBody: -1},
		"nearhttp: Options.Lifetime is 17520h0m0s: want 8760h0m0s at most":               {Lifetime: 2 * 365 * 24 * time.Hour},
		"nearhttp: Options.Vary: Accept has no Reduce":                                   {Vary: []nearhttp.Vary{{Header: "accept"}}},
		`nearhttp: Options.Vary: "*" is no name of a header`:                             {Vary: []nearhttp.Vary{nearhttp.Among("*", "a")}},
		"nearhttp: Options.Vary: Cookie is never shared, or for the cache itself":        {Vary: []nearhttp.Vary{nearhttp.Among("cookie", "a")}},
		"nearhttp: Options.Pass: Traceparent is there twice":                             {Pass: []string{"Traceparent", "traceparent"}},
		"nearhttp: Options.Pass: Authorization is never shared, or for the cache itself": {Pass: []string{"authorization"}},
	} {
		_, err = nearhttp.New(pages, opts)
		assert.EqualError(t, err, want)
	}
}
