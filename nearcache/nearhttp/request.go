package nearhttp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
)

// asked is what a request asks for.
type asked struct {
	key    string   // of the page
	url    string   // tag of all variants of its URL
	values []string // the reduced values of the headers of Options.Vary
}

// ask returns what a request asks for. Key and tag have one length, whatever is in the request.
func (c *Cache) ask(r *http.Request) asked {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	url := hashOf(scheme, strings.ToLower(r.Host), r.URL.EscapedPath(), r.URL.RawQuery)
	a := asked{url: "nearhttp:" + url, values: make([]string, len(c.opts.Vary))}
	for i, v := range c.opts.Vary {
		value := strings.Join(r.Header[v.Header], ", ")
		if len(value) > maxVaryValue {
			value = ""
		}
		a.values[i] = v.Reduce(value)
	}
	// The pattern tells handlers apart that see one path, as behind http.StripPrefix.
	a.key = hashOf(append([]string{url, r.Pattern}, a.values...)...)
	return a
}

func hashOf(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // a hash takes everything
		_, _ = h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// untouched reports whether a request does not touch the cache: what it asks for may be for it
// alone, or its conditions are not for caches.
func (c *Cache) untouched(r *http.Request) bool {
	for _, name := range []string{"Authorization", "If-Match", "If-Unmodified-Since", "If-Range", "Upgrade"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return r.Header["Cookie"] != nil && !c.opts.DropCookies ||
		r.ContentLength != 0 || len(r.TransferEncoding) > 0 ||
		r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

// shared returns the request that a handler is given for a page that may be shared: nothing in
// it is of one client but what is in the key.
func (c *Cache) shared(ctx context.Context, r *http.Request, a asked) *http.Request {
	s := r.Clone(ctx)
	s.Method, s.Body, s.RemoteAddr = http.MethodGet, http.NoBody, ""
	s.Form, s.PostForm, s.MultipartForm, s.Trailer = nil, nil, nil, nil
	s.Header = make(http.Header)
	for i, v := range c.opts.Vary {
		if a.values[i] != "" {
			s.Header.Set(v.Header, a.values[i])
		}
	}
	for _, name := range c.opts.Pass {
		if values := r.Header[name]; values != nil {
			s.Header[name] = values
		}
	}
	return s
}
