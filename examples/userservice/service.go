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
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// service answers for users: from the cache, else from the database.
type service struct {
	db           *database
	node         *nearcache.Node
	users        *nearcache.Cache[user]
	writeThrough bool
}

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
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", s.get)
	mux.HandleFunc("PUT /users/{id}", s.put)
	mux.HandleFunc("DELETE /users/{id}", s.delete)
	mux.HandleFunc("GET /stats", s.stats)
	mux.HandleFunc("GET /healthz", s.healthz)
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

// put changes the database first, then the cache. The request succeeds when
// both have happened.
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
		err = s.publish(r.Context(), u)
	}
	answer(w, u, err)
}

func (s *service) publish(ctx context.Context, u user) error {
	key := strconv.FormatInt(u.ID, 10)
	if s.writeThrough {
		return s.users.Set(ctx, key, u)
	}
	return s.users.Invalidate(ctx, key)
}

func (s *service) delete(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		answer(w, nil, errBadRequest)
		return
	}
	if err = s.db.delete(r.Context(), id); err == nil {
		err = s.users.Delete(r.Context(), r.PathValue("id"))
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
		Reads: c.Hits + c.Misses, NearHits: c.Hits, Loads: c.Loads, Queries: uint64(s.db.queries.Load()),
	}, nil)
}

// healthz is for a load balancer: a process that does not hear the bus, or
// cannot read the journal, still answers, from memory that it keeps for a short
// time.
func (s *service) healthz(w http.ResponseWriter, _ *http.Request) {
	h := s.node.Health()
	answer(w, map[string]bool{"hearsBus": !h.BusCut, "trusted": h.Trusted}, nil)
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
