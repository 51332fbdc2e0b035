// Package nearhttp caches the responses of an HTTP handler in a cache of package nearcache: in
// the memory of every server and in the shared tier, and stale on all servers once a tag of
// theirs is invalidated.
//
//	pages, err := nearcache.New(node, "pages", nearcache.Options[nearhttp.Response]{TTL: time.Minute})
//	cache, err := nearhttp.New(pages, nearhttp.Options{})
//	http.Handle("GET /products/", cache.Wrap(products))
//
// The handler names what a page shows:
//
//	nearhttp.Tag(r.Context(), "product:7")
//
// and whoever changes the product calls pages.InvalidateTags(ctx, "product:7"), on any server.
//
// # What is stored
//
// The package is a shared cache in the sense of RFC 9111, in front of an origin that is its
// own process. It stores responses to GET without a body whose handler allows that:
//
//   - status 200 without a lifetime in Cache-Control or Expires, for [Options.Lifetime];
//   - with a lifetime (s-maxage, max-age, Expires), status 200, 203, 204, 300 to 303, 307, 308,
//     404, 405, 410, 414 or 501, for that time.
//
// Never shared are responses with Set-Cookie, with Cache-Control private, no-store or no-cache,
// with Vary on a header that [Options.Vary] does not have, and responses that are larger than
// [Options.MaxBody], flushed, or an event stream. That a page is not to be shared is remembered
// for a minute: until then its requests go straight to the handler, which is also called anew
// for the one that found out. Requests with Authorization, a certificate, If-Match,
// If-Unmodified-Since, If-Range, Upgrade or a body do not touch the cache, and neither do those with
// cookies unless [Options.DropCookies] says so.
//
// # A page depends on nothing but its key
//
// The key of a page is scheme, host, path and query of its URL, and the headers of
// [Options.Vary], each reduced to one of a few values. When the handler makes a page that may
// be shared, it is given these headers, with the reduced values, and those of [Options.Pass],
// and no others. So no client can put into a page of others what the key does not have (cache
// poisoning), and the number of variants of a page is bounded, whatever clients send.
//
// # What is served
//
// A stored page is served with Age, with Cache-Status (RFC 9211), with an ETag, made if the
// handler gave none, and to a client that has it as 304. GET serves HEAD, and ranges.
//
// Stale answers come from options of the cache, see [nearcache.Options]. RefreshAhead makes a
// page anew while the old one is still served (stale-while-revalidate). Stale serves an old
// page where the handler fails with a status from 500 on (stale-if-error), or, with Stale.Timeout,
// is slow; the directives stale-if-error, must-revalidate, proxy-revalidate and s-maxage of the
// page limit that. A handler that is asked for a page which has a validator is given it in
// If-None-Match or If-Modified-Since, and may answer 304.
//
// A response to another method than GET, HEAD, OPTIONS and TRACE, with a status from 200 to
// 399, makes all variants of its URL stale before its client sees the response.
package nearhttp
