package nearhttp

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// failure is the response of a handler that failed. It is given to those who wait for it, where
// there is no old page for them, and never stored.
type failure struct{ Response }

// Error returns the status.
func (f *failure) Error() string { return fmt.Sprintf("nearhttp: the handler answered %d", f.Status) }

// load has the handler make a page.
func (c *Cache) load(ctx context.Context, next http.Handler, r *http.Request, a asked, old *Response) (nearcache.Loaded[Response], error) {
	c.made.Add(1)
	tags := &tagSet{}
	outer := ctx
	ctx, cancel := context.WithCancel(context.WithValue(ctx, tagsKey{}, tags))
	defer cancel()
	request := c.shared(ctx, r, a)
	known := old != nil && old.askAgain(request.Header)
	rec := &recorder{cache: c, cancel: cancel, header: make(http.Header)}
	began := time.Now()
	call(next, rec, request)
	if rec.refused == "" && outer.Err() != nil {
		return nearcache.Loaded[Response]{}, outer.Err() // what it wrote may not be all
	}
	var page Response
	switch {
	case rec.refused != "":
		return c.pass(a, rec.refused), nil
	case rec.status != http.StatusNotModified:
		page = newResponse(rec, began)
		page.Tags = tags.all()
	case known:
		page = old.freshened(rec, began)
		for _, tag := range tags.all() {
			if !slices.Contains(page.Tags, tag) {
				page.Tags = append(slices.Clip(page.Tags), tag)
			}
		}
		if why := c.unshareable(page.Header); why != "" {
			return c.pass(a, why), nil
		}
	default:
		return c.pass(a, passUnfit), nil
	}
	return c.entry(page, a)
}

// call calls the handler. Once the response is refused, a panic is no more than its way to end.
func call(next http.Handler, rec *recorder, r *http.Request) {
	defer func() {
		if rec.refused != "" {
			_ = recover()
		}
	}()
	next.ServeHTTP(rec, r)
	rec.finish()
}

// entry returns what becomes of a page that may be shared.
func (c *Cache) entry(page Response, a asked) (nearcache.Loaded[Response], error) {
	life, explicit := lifetime(page.Header, parseDirectives(page.Header), page.Made, c.opts.Lifetime)
	left := life - time.Since(page.Made).Truncate(time.Second)
	switch {
	case !storable(page.Status, explicit) && page.Status >= http.StatusInternalServerError:
		return nearcache.Loaded[Response]{}, &failure{page}
	case !storable(page.Status, explicit):
		return nearcache.Loaded[Response]{Value: page, NoStore: true}, nil
	case left <= 0:
		return c.pass(a, passPrivate), nil
	}
	page.Lifetime = life
	return nearcache.Loaded[Response]{Value: page, TTL: left, Tags: append(slices.Clip(page.Tags), a.url)}, nil
}

// pass returns an entry that says that a page is not to be shared.
func (c *Cache) pass(a asked, why string) nearcache.Loaded[Response] {
	c.refused(why)
	return nearcache.Loaded[Response]{Value: Response{Pass: why}, TTL: passFor, Tags: []string{a.url}}
}

// askAgain adds the conditions under which a handler may confirm r, and reports whether there
// are any. An ETag that was made here means nothing to the handler.
func (r *Response) askAgain(h http.Header) bool {
	for validator, condition := range map[string]string{"Etag": "If-None-Match", "Last-Modified": "If-Modified-Since"} {
		if value := r.Header.Get(validator); value != "" && r.Status == http.StatusOK {
			h.Set(condition, value)
		}
	}
	return h["If-None-Match"] != nil || h["If-Modified-Since"] != nil
}
