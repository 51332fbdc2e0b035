package neardebug

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	maxQuery   = 16 << 10        // bytes of a query: a key of 1,024 bytes and some tags
	maxTags    = 64              // of one look at a key
	maxLooks   = 4               // looks at keys at a time
	lookWithin = 5 * time.Second // longest look at a key
	maxEvery   = 3600            // seconds between two loads of the page
)

//go:embed page.html key.html style.css
var files embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "*.html"))

// Handler returns a handler that shows node. It is safe for use by many goroutines, and goes
// on after the node was closed: it shows that. Four keys can be looked at at a time; who asks
// for more is answered with status 503.
func Handler(node *nearcache.Node) http.Handler {
	return &handler{node: node, looks: make(chan struct{}, maxLooks)}
}

type handler struct {
	node  *nearcache.Node
	looks chan struct{} // holds one element for each look under way
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("Referrer-Policy", "no-referrer") // addresses have keys
	header.Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "neardebug: only GET and HEAD", http.StatusMethodNotAllowed)
		return
	case len(r.URL.RawQuery) > maxQuery:
		http.Error(w, "neardebug: the query is too long", http.StatusRequestURITooLong)
		return
	}
	switch name := path.Base(r.URL.Path); {
	case strings.HasSuffix(r.URL.Path, "/"), r.URL.Path == "":
		h.page(w, r)
	case name == "json":
		answerJSON(w, stateOf(h.node))
	case name == "key":
		h.key(w, r)
	case name == "style.css":
		http.ServeFileFS(w, r, files, name)
	default:
		http.NotFound(w, r)
	}
}

func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	if text := r.URL.Query().Get("every"); text != "" {
		every, err := strconv.Atoi(text)
		if err != nil || every < 1 || every > maxEvery {
			http.Error(w, fmt.Sprintf("neardebug: every: want 1 to %d seconds", maxEvery), http.StatusBadRequest)
			return
		}
		w.Header().Set("Refresh", strconv.Itoa(every))
	}
	answerPage(w, "page.html", stateOf(h.node))
}

// key looks at a key.
func (h *handler) key(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if len(query["tag"]) > maxTags {
		http.Error(w, fmt.Sprintf("neardebug: more than %d tags", maxTags), http.StatusBadRequest)
		return
	}
	select {
	case h.looks <- struct{}{}:
		defer func() { <-h.looks }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "neardebug: too many keys are looked at right now", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookWithin)
	defer cancel()
	found, err := h.node.Inspect(ctx, query.Get("cache"), query.Get("key"), nearcache.InspectOptions{Tags: query["tag"]})
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case query.Get("format") == "json":
		answerJSON(w, found)
	default:
		answerPage(w, "key.html", found)
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		http.Error(w, "neardebug: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b.Bytes()) // whoever asked may be gone
}

func answerPage(w http.ResponseWriter, name string, v any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		http.Error(w, "neardebug: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // likewise
}
