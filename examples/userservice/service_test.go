package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestMain is the service itself when the fleet under test starts the test
// binary.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func newService(t *testing.T) (*service, *memstore.Store) {
	db, err := openDatabase(t.Context(), filepath.Join(t.TempDir(), "users.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.close() })
	require.NoError(t, db.seed(t.Context(), 10))
	store := memstore.New(memstore.Options{})
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close(atOnce) })
	require.Eventually(t, func() bool { return node.Stats().Journal.Rounds > 0 }, 10*time.Second, time.Millisecond)
	users, err := nearcache.New[user](node, "users", nearcache.Options[user]{})
	require.NoError(t, err)
	scrapes := promhttp.HandlerFor(registryOf(node), promhttp.HandlerOpts{})
	return &service{db: db, node: node, users: users, metrics: scrapes, began: time.Now()}, store
}

func request(s *service, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.routes().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func TestService(t *testing.T) {
	s, _ := newService(t)
	for range 3 {
		w := request(s, "GET", "/users/7", "")
		require.Equal(t, http.StatusOK, w.Code)
		assert.JSONEq(t, `{"id":7,"name":"User 7","email":"user7@example.org","version":1}`, w.Body.String())
	}
	assert.EqualValues(t, 1, s.db.queries.Load(), "one query for three reads")
	assert.JSONEq(t, `{"Reads":3,"NearHits":2,"Queries":1,"Loads":1}`, request(s, "GET", "/stats", "").Body.String())

	for _, writeThrough := range []bool{false, true} {
		s.writeThrough = writeThrough
		w := request(s, "PUT", "/users/7", `{"name":"Ada","email":"ada@example.org"}`)
		require.Equal(t, http.StatusOK, w.Code)
		assert.JSONEq(t, w.Body.String(), request(s, "GET", "/users/7", "").Body.String(), "own writes are read")
	}
	require.Equal(t, http.StatusOK, request(s, "DELETE", "/users/7", "").Code)
	assert.Equal(t, http.StatusNotFound, request(s, "GET", "/users/7", "").Code)
	assert.Equal(t, http.StatusNotFound, request(s, "GET", "/users/nobody", "").Code)
	assert.Equal(t, http.StatusBadRequest, request(s, "PUT", "/users/7", `{`).Code)
	assert.Equal(t, http.StatusBadRequest, request(s, "PUT", "/users/x", `{}`).Code)
	w := request(s, "GET", "/healthz", "")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Contains(t, w.Body.String(), `"trusted":true,"why":null,"behind":"`)
}

// TestService_CacheDown: the service goes on from the database.
func TestService_CacheDown(t *testing.T) {
	s, store := newService(t)
	require.NoError(t, store.Close())
	assert.Equal(t, http.StatusOK, request(s, "GET", "/users/7", "").Code)
	require.Equal(t, http.StatusOK, request(s, "PUT", "/users/7", `{"name":"Ada"}`).Code, "the database has it")
	assert.Contains(t, request(s, "GET", "/users/7", "").Body.String(), `"Ada"`)
	assert.Equal(t, 1, s.node.Health().PendingInvalidations, "the cache is told when it is back")
	assert.Equal(t, http.StatusOK, request(s, "DELETE", "/users/7", "").Code)
	assert.Equal(t, http.StatusNotFound, request(s, "GET", "/users/7", "").Code)
}

// TestService_Ready: once ready, a process stays in service.
func TestService_Ready(t *testing.T) {
	s, _ := newService(t)
	require.Equal(t, http.StatusOK, request(s, "GET", "/readyz", "").Code)
	require.NoError(t, s.node.Close(atOnce)) // it is trusted no more
	assert.Equal(t, http.StatusOK, request(s, "GET", "/readyz", "").Code)
	s.ready.Store(false)
	w := request(s, "GET", "/readyz", "")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Contains(t, w.Body.String(), "not trusted: the node is closed")
	s.began = s.began.Add(-settling)
	assert.Equal(t, http.StatusOK, request(s, "GET", "/readyz", "").Code)
}

// TestServe_EndsInOrder: requests under way are answered before the cache closes.
func TestServe_EndsInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	redis, err := servers.StartRedis(t.Context())
	require.NoError(t, err)
	t.Cleanup(redis.Stop)
	w := wiring{store: "redis", bus: "redis", redisURL: "redis://" + redis.Addr, database: filepath.Join(t.TempDir(), "users.db")}
	lines, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, w, "127.0.0.1:0", out) }()
	addr, err := bufio.NewReader(lines).ReadString('\n')
	require.NoError(t, err)
	url := "http://" + strings.TrimSpace(addr)
	require.Eventually(t, func() bool {
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 20*time.Second, 10*time.Millisecond)

	body, send := io.Pipe()
	underWay := make(chan struct{})
	traced := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(underWay) }})
	req, err := http.NewRequestWithContext(traced, http.MethodPut, url+"/users/7", body)
	require.NoError(t, err)
	req.Header.Set("Expect", "100-continue") // the server says so when the body is read
	answered := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-underWay
	cancel()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 20*time.Second, 10*time.Millisecond, "no new requests are taken")
	_, err = io.WriteString(send, `{"name":"Ada"}`)
	require.NoError(t, err)
	require.NoError(t, send.Close())
	assert.Equal(t, http.StatusOK, <-answered)
	assert.NoError(t, <-ended)
}

func TestFleet(t *testing.T) {
	for _, w := range []wiring{
		{store: "redis", bus: "nats"}, {store: "redis", bus: "redis", writeThrough: true}, {store: "memcached", bus: "nats"},
	} {
		t.Run(w.store+" and "+w.bus, func(t *testing.T) {
			var out bytes.Buffer
			cfg := fleetConfig{
				wiring: w, processes: 3, workers: 4, users: 500, writes: 0.05,
				duration: 3 * time.Second, bound: 2 * time.Second,
			}
			require.NoError(t, runFleet(t.Context(), cfg, &out), out.String())
			assert.Contains(t, out.String(), "0 answers, 0 writes not seen everywhere")
		})
	}
}

func TestFleet_Refuses(t *testing.T) {
	err := runFleet(context.Background(), fleetConfig{processes: 1}, &bytes.Buffer{})
	require.ErrorContains(t, err, "at least 2 processes")
	cfg := fleetConfig{wiring: wiring{store: "disk", bus: "nats"}, processes: 2, workers: 1, users: 2, duration: time.Second, bound: time.Second}
	require.Error(t, runFleet(context.Background(), cfg, &bytes.Buffer{}))
}

// atOnce has ended: what is closed with it waits for nothing.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
