package nearhttp

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Response is a stored response, the value of a cache of pages. Its fields are for codecs.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Tags   []string

	// ETag is made of the body where the handler gave none.
	ETag string `json:",omitempty"`

	// Made is when the handler was called, earlier if its response said that it was old.
	Made time.Time

	// Lifetime is for how long the response may be served, from Made on.
	Lifetime time.Duration

	// Pass says why the page is not to be shared. The other fields are empty then.
	Pass string `json:",omitempty"`
}

const (
	longestLife = 365 * 24 * time.Hour

	// passFor is how long it is remembered that a page is not to be shared.
	passFor = time.Minute
)

// Why a page is not to be shared, for Cache-Status.
const (
	passPrivate  = "private"   // its headers say so
	passVary     = "vary"      // it depends on a header that Options.Vary does not have
	passTooLarge = "too-large" // its body, or its headers
	passEndless  = "endless"   // it was flushed, has trailers, or is an event stream
	passUnfit    = "unfit"     // the handler ended early, or answered what cannot be stored
)

// connectionHeaders are of one connection, and never stored (RFC 9111, section 3.1).
var connectionHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// storedHeader returns the headers of a response that are stored.
func storedHeader(h http.Header) http.Header {
	stored := maps.Clone(h)
	for _, names := range h["Connection"] {
		for name := range strings.SplitSeq(names, ",") {
			delete(stored, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for _, name := range slices.Concat(connectionHeaders, []string{"Age", "Content-Length"}) {
		delete(stored, name)
	}
	return stored
}

// newResponse returns what was recorded, by a call of the handler that began then.
func newResponse(rec *recorder, began time.Time) Response {
	r := Response{Status: rec.status, Header: storedHeader(rec.sent), Body: rec.body}
	r.age(rec.sent, began)
	if r.Header.Get("Date") == "" {
		r.Header.Set("Date", began.UTC().Format(http.TimeFormat))
	}
	if len(r.Body) > 0 && r.Header["Content-Type"] == nil && r.Header.Get("Content-Encoding") == "" {
		r.Header.Set("Content-Type", http.DetectContentType(r.Body)) // as net/http does
	}
	if r.Header.Get("Etag") == "" && r.Status == http.StatusOK {
		sum := sha256.Sum256(r.Body)
		r.ETag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	}
	return r
}

// age sets when a response was made (RFC 9111, section 4.2.3): a handler may have it from
// another cache.
func (r *Response) age(sent http.Header, began time.Time) {
	old := time.Duration(0)
	if seconds, ok := parseSeconds(sent.Get("Age")); ok {
		old = seconds
	}
	if date, err := http.ParseTime(sent.Get("Date")); err == nil {
		old = max(old, began.Sub(date).Truncate(time.Second))
	}
	r.Made = began.Add(-old)
}

// freshened returns r as a handler confirmed it (RFC 9111, section 3.2).
func (r *Response) freshened(rec *recorder, began time.Time) Response {
	fresh := *r
	fresh.Header = maps.Clone(r.Header)
	delete(fresh.Header, "Date")
	for name, values := range storedHeader(rec.sent) {
		if !strings.HasPrefix(name, "Content-") {
			fresh.Header[name] = values
		}
	}
	fresh.age(rec.sent, began)
	if fresh.Header.Get("Date") == "" {
		fresh.Header.Set("Date", began.UTC().Format(http.TimeFormat))
	}
	return fresh
}

// lifetime returns for how long a response may be served, and whether it says so itself.
func lifetime(h http.Header, d directives, made time.Time, otherwise time.Duration) (life time.Duration, explicit bool) {
	for _, name := range []string{"s-maxage", "max-age"} {
		if text, ok := d[name]; ok {
			life, _ = parseSeconds(text) // what cannot be read is stale (section 4.2.1)
			return min(life, longestLife), true
		}
	}
	if texts := h["Expires"]; len(texts) > 0 {
		at, err := http.ParseTime(texts[0])
		if err != nil || len(texts) > 1 {
			return 0, true
		}
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			made = date
		}
		return min(at.Sub(made), longestLife), true
	}
	return otherwise, false
}

// storable reports whether a response with this status may be stored.
func storable(status int, explicit bool) bool {
	switch status {
	case http.StatusOK:
		return true
	case http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusMultipleChoices, http.StatusMovedPermanently,
		http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestURITooLong, http.StatusNotImplemented:
		return explicit
	}
	return false
}

// mayBeStale reports whether a response that is old may be served now (section 4.2.4, and RFC
// 5861).
func (r *Response) mayBeStale(now time.Time) bool {
	d := parseDirectives(r.Header)
	for _, name := range []string{"must-revalidate", "proxy-revalidate", "s-maxage"} {
		if _, ok := d[name]; ok {
			return false
		}
	}
	if text, ok := d["stale-if-error"]; ok {
		limit, _ := parseSeconds(text)
		return now.Sub(r.Made)-r.Lifetime <= limit
	}
	return true
}

// directives are those of Cache-Control, by their names in lower case.
type directives map[string]string

// parseDirectives reads Cache-Control. Of a directive that is there twice, the first counts.
func parseDirectives(h http.Header) directives {
	d := make(directives)
	for _, line := range h["Cache-Control"] {
		for line != "" {
			var item string
			item, line = nextItem(line)
			name, value, _ := strings.Cut(item, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			if _, twice := d[name]; name != "" && !twice {
				d[name] = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
	}
	return d
}

// nextItem returns what is in front of the first comma that is not in quotes, and the rest.
func nextItem(list string) (item, rest string) {
	quoted := false
	for i := range len(list) {
		switch {
		case list[i] == '"':
			quoted = !quoted
		case list[i] == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return list, ""
}

// parseSeconds reads a number of seconds, of which the longest is longestLife.
func parseSeconds(text string) (d time.Duration, ok bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil && !strings.HasSuffix(err.Error(), strconv.ErrRange.Error()) {
		return 0, false
	}
	return time.Duration(min(n, uint64(longestLife/time.Second))) * time.Second, true
}

// unshareable says why a response with these headers must not be shared; empty if it may.
func (c *Cache) unshareable(h http.Header) string {
	d := parseDirectives(h)
	for _, name := range []string{"private", "no-store", "no-cache"} {
		if _, ok := d[name]; ok {
			return passPrivate
		}
	}
	if h["Set-Cookie"] != nil {
		return passPrivate
	}
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name != "" && !slices.ContainsFunc(c.opts.Vary, func(v Vary) bool { return v.Header == name }) {
				return passVary
			}
		}
	}
	if h["Trailer"] != nil || strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		return passEndless
	}
	for _, values := range h {
		if !utf8.ValidString(strings.Join(values, "")) { // JSON does not keep it
			return passUnfit
		}
	}
	return ""
}
