package nearhttp

import (
	"context"
	"net/http"
)

// change has the handler answer a request that may change something, and makes the pages of its
// URL stale if it succeeded (RFC 9111, section 4.4).
func (c *Cache) change(next http.Handler, w http.ResponseWriter, r *http.Request) {
	c.bypassed.Add(1)
	if r.Method == http.MethodOptions || r.Method == http.MethodTrace {
		forward(next, w, r, "fwd=method")
		return
	}
	writer := &changeWriter{ResponseWriter: w, done: func(status int) {
		if status >= 200 && status < 400 && c.pages.InvalidateTags(context.WithoutCancel(r.Context()), c.ask(r).url) != nil {
			c.uninvalidated.Add(1)
		}
	}}
	forward(next, writer, r, "fwd=method")
	writer.began(http.StatusOK) // a handler that wrote nothing
}

// changeWriter calls done with the status before the client sees anything of the response.
type changeWriter struct {
	http.ResponseWriter
	done func(status int) // nil: it was called
}

func (w *changeWriter) began(status int) {
	if w.done != nil && status >= 200 {
		done := w.done
		w.done = nil
		done(status)
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *changeWriter) WriteHeader(status int) {
	w.began(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *changeWriter) Write(p []byte) (int, error) {
	w.began(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Flush implements [http.Flusher].
func (w *changeWriter) Flush() {
	w.began(http.StatusOK)
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a Flusher cannot say that it failed
}

// Unwrap is for [http.ResponseController].
func (w *changeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
