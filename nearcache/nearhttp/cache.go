package nearhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// Cache stores the responses of handlers in a cache of package nearcache. It is safe for use by
// many goroutines.
type Cache struct {
	pages *nearcache.Cache[Response]
	opts  Options
	counters
}

// New returns a Cache over pages, which stays the caller's: its tags are invalidated there, and
// its node is closed after the server. The error names the option that is wrong.
func New(pages *nearcache.Cache[Response], opts Options) (*Cache, error) {
	if pages == nil {
		return nil, errors.New("nearhttp: the cache of pages is nil")
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	return &Cache{pages: pages, opts: opts}, nil
}

// Wrap returns a handler that answers from the cache, and asks next for what is not there. What
// next is given in a context, by a handler around the Cache, must not make pages differ. A page
// of a handler that fails comes from next without the cache, if that can be told.
//
// Several handlers may be wrapped. Where they see one path, as behind http.StripPrefix, their
// pages are told apart by the pattern of their http.ServeMux.
func (c *Cache) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			c.change(next, w, r)
		case c.untouched(r):
			c.bypassed.Add(1)
			forward(next, w, r, "fwd=bypass")
		default:
			c.serve(next, w, r)
		}
	})
}

// forward has the handler answer by itself.
func forward(next http.Handler, w http.ResponseWriter, r *http.Request, status string) {
	tell(w, status)
	next.ServeHTTP(w, r)
}

// tell adds a member to Cache-Status (RFC 9211), behind those of caches nearer to the origin.
func tell(w http.ResponseWriter, status string) { w.Header().Add("Cache-Status", "nearbus; "+status) }

// serve answers from the cache.
func (c *Cache) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	a := c.ask(r)
	var made atomic.Bool // for this call, or for a refresh that it began
	got, err := c.pages.Read(r.Context(), a.key, nearcache.ReadOptions{},
		func(ctx context.Context, _ string, old *Response) (nearcache.Loaded[Response], error) {
			made.Store(true)
			return c.load(ctx, next, r, a, old)
		})
	page := &got.Value
	if failed, ok := errors.AsType[*failure](err); ok {
		page = &failed.Response
	} else if err != nil {
		c.fail(next, w, r, err)
		return
	}
	now := time.Now()
	left := page.Made.Add(page.Lifetime).Sub(now)
	switch {
	case page.Pass != "":
		c.passed.Add(1)
		forward(next, w, r, "fwd=bypass; detail="+page.Pass)
	case got.Stale && !page.mayBeStale(now):
		c.failures.Add(1)
		forward(next, w, r, "fwd=stale")
	case got.Stale:
		c.served.Add(1)
		c.stale.Add(1)
		page.write(w, r, now, fmt.Sprintf("hit; ttl=%d; detail=stale", min(-1, int64(left.Seconds()))))
	case err != nil || made.Load() && !got.Near:
		status := fmt.Sprintf("fwd=miss; fwd-status=%d", page.Status)
		if page.Lifetime > 0 {
			status += fmt.Sprintf("; stored; ttl=%d", int64(left.Seconds()))
		}
		page.write(w, r, time.Time{}, status)
	default:
		c.served.Add(1)
		detail := "shared"
		if got.Near {
			detail = "near"
		}
		page.write(w, r, now, fmt.Sprintf("hit; ttl=%d; detail=%s", int64(left.Seconds()), detail))
	}
}

// fail answers where the cache could not.
func (c *Cache) fail(next http.Handler, w http.ResponseWriter, r *http.Request, err error) {
	c.failures.Add(1)
	if panicked, ok := errors.AsType[*nearcache.PanicError](err); ok && panicked.Callback == "loader" && panicked.Value != nil {
		panic(panicked.Value) // as the handler alone would have
	}
	if r.Context().Err() != nil {
		return // nobody is there any more
	}
	forward(next, w, r, "fwd=miss; detail=failed")
}
