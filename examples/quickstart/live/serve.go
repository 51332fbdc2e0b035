package live

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"time"
)

//go:embed page
var files embed.FS

const (
	framePause = 100 * time.Millisecond // between two snapshots for a viewer
	sendTime   = 5 * time.Second        // after which a viewer who takes nothing is left
	maxViewers = 32
	maxForm    = 1 << 10
)

// Serve shows the page at an address until ctx ends, and prints where.
func Serve(ctx context.Context, address string, out io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	demo, err := New()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer demo.Close()
	server := &http.Server{
		Handler: demo.Handler(), ReadHeaderTimeout: sendTime,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams end with it
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }() // ends with Shutdown
	fmt.Fprintf(out, "Open http://%s in a browser. Ctrl-C ends.\n", listener.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	return server.Shutdown(stop)
}

// Handler serves the page, a stream of snapshots and the buttons. Other pages of the same
// browser may not press them.
func (d *Demo) Handler() http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the name is one that fs takes
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))
	viewers := make(chan struct{}, maxViewers)
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		select {
		case viewers <- struct{}{}:
			defer func() { <-viewers }()
			d.stream(w, r)
		default:
			http.Error(w, "too many viewers", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /do", d.do)
	protected := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-store")
		protected.ServeHTTP(w, r)
	})
}

// stream sends snapshots, as server-sent events.
func (d *Demo) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	ticker := time.NewTicker(framePause)
	defer ticker.Stop()
	for seen := d.newCursor(); ; {
		data, err := json.Marshal(d.since(&seen))
		if err != nil {
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(sendTime)) // without one, Flush tells
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-d.life.Done():
			return
		case <-ticker.C:
		}
	}
}

// do is what a button does.
func (d *Demo) do(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "not a form", http.StatusBadRequest)
		return
	}
	if err := d.press(r.PostForm.Get); err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errBusy) {
			status = http.StatusTooManyRequests
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// press does what a form asks for.
func (d *Demo) press(field func(string) string) error {
	number := func(name string) int {
		n, err := strconv.Atoi(field(name))
		if err != nil {
			return nowhere // no server and no record
		}
		return n
	}
	switch what := field("what"); what {
	case "write":
		if field("server") == "" {
			return d.WriteAny()
		}
		return d.Write(number("server"), number("key"))
	case "heal":
		d.Heal()
		return nil
	default:
		return d.Switch(what, number("server"), field("on") == "true")
	}
}
