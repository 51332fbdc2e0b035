package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// service answers for users: from the cache, else from the database.
type service struct {
	db           *database
	node         *nearcache.Node
	users        *nearcache.Cache[user]
	writeThrough bool
	metrics      http.Handler
	began        time.Time
	ready        atomic.Bool // stays true
}

const (
	// farewell is how long requests under way may take once the process is to end,
	// and how long invalidations that are owed are tried then.
	farewell = 10 * time.Second

	// settling is how long a process that starts is given to meet the shared tier.
	settling = 10 * time.Second
)

// serve runs one process of the service until ctx ends. It prints the address
// that it listens on.
func serve(ctx context.Context, w wiring, listen string, out io.Writer) error {
	s, closeAll, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	server := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // ends with Shutdown
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	within := func(end func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		return end(ctx)
	}
	err = within(server.Shutdown) // requests first: they use the cache
	return errors.Join(err, within(s.node.Drain))
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", s.get)
	mux.HandleFunc("PUT /users/{id}", s.put)
	mux.HandleFunc("DELETE /users/{id}", s.delete)
	mux.HandleFunc("GET /stats", s.stats)
	mux.Handle("GET /metrics", s.metrics)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	return mux
}

// get is cache-aside in one call.
func (s *service) get(w http.ResponseWriter, r *http.Request) {
	u, err := s.users.Fetch(r.Context(), r.PathValue("id"), s.load)
	answer(w, u, err)
}

func (s *service) load(ctx context.Context, key string) (user, error) {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return user{}, nearcache.ErrNotFound
	}
	return s.db.get(ctx, id)
}

// put changes the database first, then the cache. The request succeeds when the
// database has it.
func (s *service) put(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		answer(w, nil, errBadRequest)
		return
	}
	u := user{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&u); err != nil {
		answer(w, nil, errBadRequest)
		return
	}
	u.ID = id
	if u, err = s.db.put(r.Context(), u); err == nil {
		s.publish(r.Context(), u)
	}
	answer(w, u, err)
}

func (s *service) publish(ctx context.Context, u user) {
	ctx = context.WithoutCancel(ctx) // the client may leave, the row stays changed
	key := strconv.FormatInt(u.ID, 10)
	if s.writeThrough {
		s.stands(key, s.users.Set(ctx, key, u))
	} else {
		s.stands(key, s.users.Invalidate(ctx, key))
	}
}

// stands takes in what became of the cache after the database was changed. The
// change stands, whatever the cache says: an error here must not become one of the
// request, whose client would take the row for unchanged. This process has dropped
// its copy and goes on telling the others while it lives; if it dies before that,
// they serve the old row until its TTL.
func (s *service) stands(key string, err error) {
	if err != nil {
		slog.Warn("the database has it, the cache will follow", "user", key, "error", err)
	}
}

func (s *service) delete(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		answer(w, nil, errBadRequest)
		return
	}
	key := strconv.FormatInt(id, 10)
	if err = s.db.delete(r.Context(), id); err == nil {
		s.stands(key, s.users.Delete(context.WithoutCancel(r.Context()), key))
	}
	answer(w, struct{}{}, err)
}

// counts is what a process tells of itself.
type counts struct {
	Reads, NearHits, Queries, Loads uint64
}

func (s *service) stats(w http.ResponseWriter, _ *http.Request) {
	c := s.users.Stats()
	answer(w, counts{
		Reads: c.Reads.Hits + c.Reads.Misses, NearHits: c.Reads.Hits, Loads: c.Loads.Keys, Queries: uint64(s.db.queries.Load()),
	}, nil)
}

// readyz is for a load balancer: whether the process may be sent requests. It is a
// latch: when Redis is down all processes lose their trust, and go on from the
// database; taking them out of service would make that an outage. A process that
// starts then does as they do, after a while.
func (s *service) readyz(w http.ResponseWriter, _ *http.Request) {
	if h := s.node.Health(); !s.ready.Load() && !h.Trusted && time.Since(s.began) < settling {
		http.Error(w, h.String(), http.StatusServiceUnavailable)
		return
	}
	s.ready.Store(true)
	answer(w, "ready", nil)
}

// healthz is for people and alerts. As a liveness probe it says no more than that
// the process answers.
func (s *service) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, s.node.Health(), nil)
}

var errBadRequest = errors.New("bad request")

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case err == nil:
	case errors.Is(err, nearcache.ErrNotFound):
		w.WriteHeader(http.StatusNotFound)
		return
	case errors.Is(err, errBadRequest), errors.Is(err, nearcache.ErrInvalidKey):
		w.WriteHeader(http.StatusBadRequest)
		return
	default:
		slog.Error("request failed", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		slog.Error("answer not sent", "error", err)
	}
}
