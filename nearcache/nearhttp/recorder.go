package nearhttp

import (
	"errors"
	"net/http"
	"strconv"
)

// maxHeader is how large the headers of a response may be that is stored, in bytes.
const maxHeader = 64 << 10

// errRefused is what a handler gets that goes on to write a page which is not to be shared.
var errRefused = errors.New("nearhttp: the page is not shared; its requests go to the handler")

// recorder takes a response to be stored, and ends the handler's call once it is clear that
// the response will not be. It is used by one goroutine, as every ResponseWriter.
type recorder struct {
	cache  *Cache
	cancel func() // ends the context of the request
	header http.Header

	status  int         // zero: not sent yet
	sent    http.Header // the headers as they were sent
	body    []byte
	refused string // why the response is not stored; empty: it is
}

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if r.status != 0 || status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	r.status, r.sent = status, r.header.Clone()
	size := 0
	for name, values := range r.sent {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	length, _ := strconv.ParseInt(r.sent.Get("Content-Length"), 10, 64)
	switch {
	case status == http.StatusSwitchingProtocols:
		r.refuse(passEndless)
	case size > maxHeader || length > r.cache.opts.MaxBody:
		r.refuse(passTooLarge)
	default:
		if why := r.cache.unshareable(r.sent); why != "" {
			r.refuse(why)
		}
	}
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if int64(len(r.body))+int64(len(p)) > r.cache.opts.MaxBody {
		r.refuse(passTooLarge)
	}
	if r.refused != "" {
		return 0, errRefused
	}
	r.body = append(r.body, p...)
	return len(p), nil
}

// Flush implements [http.Flusher]: who flushes has more to come, maybe without an end.
func (r *recorder) Flush() {
	r.WriteHeader(http.StatusOK)
	r.refuse(passEndless)
}

func (r *recorder) refuse(why string) {
	if r.refused == "" {
		r.refused, r.body = why, nil
		r.cancel()
	}
}

// finish is what the return of the handler means.
func (r *recorder) finish() {
	r.WriteHeader(http.StatusOK)
	length := r.sent.Get("Content-Length")
	if length != "" && length != strconv.Itoa(len(r.body)) && r.status != http.StatusNotModified {
		r.refuse(passUnfit)
	}
}
