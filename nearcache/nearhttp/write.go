package nearhttp

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// write sends a stored response to a client: with 304 if the client has it, in part if the
// client wants a part. now is zero if the response was made for this client.
func (r *Response) write(w http.ResponseWriter, req *http.Request, now time.Time, status string) {
	h := w.Header()
	for name, values := range r.Header {
		if name == "Cache-Status" {
			values = slices.Concat(h[name], values)
		}
		h[name] = slices.Clone(values)
	}
	tell(w, status)
	if r.ETag != "" {
		h.Set("Etag", r.ETag)
	}
	if !now.IsZero() {
		h.Set("Age", strconv.FormatInt(max(0, int64(now.Sub(r.Made).Seconds())), 10))
	}
	if r.Status == http.StatusOK {
		modified, _ := http.ParseTime(h.Get("Last-Modified")) // zero if there is none
		http.ServeContent(w, req, "", modified, bytes.NewReader(r.Body))
		return
	}
	if r.Status != http.StatusNoContent && r.Status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	}
	w.WriteHeader(r.Status)
	if req.Method != http.MethodHead && len(r.Body) > 0 {
		_, _ = w.Write(r.Body) // a client that left needs no answer
	}
}
