package nearhttp

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxVaryValue is how much of a request header is looked at. A longer one counts as absent.
const maxVaryValue = 1024

// Options configure a [Cache]. The zero value is the production default.
type Options struct {
	// Vary are the request headers that pages may depend on. A response with Vary on any other
	// header is not shared. Headers that pages depend on without saying so in Vary belong here
	// as well: a handler sees no others. None means that pages depend on their URL alone.
	Vary []Vary

	// Pass are request headers that a handler is given as they are, although pages do not
	// depend on them, such as Traceparent. What a client sends in them may come into a page of
	// others: a handler must not show them. None means that none are.
	Pass []string

	// DropCookies lets requests with cookies share pages. A handler that makes a page to be
	// shared is not given them. A page that depends on cookies must then say so by
	// Cache-Control private or by Vary. False means that requests with cookies do not touch
	// the cache.
	DropCookies bool

	// Lifetime is for how long a response with status 200 is stored that says nothing of it, in
	// Cache-Control or Expires. Zero means 1 min. A negative one means that only responses
	// that say so are stored.
	Lifetime time.Duration

	// MaxBody is the size of the largest body that is stored, in bytes. Zero means 1 MiB. The
	// shared tier has a limit of its own, for the encoded response: see shared.Options.MaxValue.
	MaxBody int64
}

// Vary is a request header that pages may depend on.
type Vary struct {
	Header string

	// Reduce returns what the page depends on of the value, which is empty if the request does
	// not have the header. Each different result is a variant of the page, so there should be
	// few. The handler is given the result as the value of the header. Several values arrive
	// joined by ", "; a value of more than 1,024 bytes arrives as empty. Reduce is called for
	// each request and must not block.
	Reduce func(value string) string
}

// Among is a header by which clients choose among these values, as Accept-Encoding and
// Accept-Language: the value with the highest weight (q), of equal ones the first in the list;
// none, if the client accepts none or does not send the header. "de-AT" chooses "de" if that
// is in the list, and "*" the first one that is not named.
func Among(header string, values ...string) Vary {
	values = slices.Clone(values)
	return Vary{Header: header, Reduce: func(accepted string) string { return choose(accepted, values) }}
}

// choose returns the value that a client accepts most.
func choose(accepted string, values []string) (best string) {
	highest := 0.0
	for _, value := range values {
		if weight := weightOf(accepted, value); weight > highest {
			best, highest = value, weight
		}
	}
	return best
}

// weightOf returns the weight that a client gives to a value: that of the most exact range.
func weightOf(accepted, value string) (weight float64) {
	exact := -1
	for item := range strings.SplitSeq(accepted, ",") {
		wanted, params, _ := strings.Cut(item, ";")
		wanted = strings.TrimSpace(wanted)
		precision := 0
		switch {
		case strings.EqualFold(wanted, value):
			precision = 2
		case len(wanted) > len(value) && wanted[len(value)] == '-' && strings.EqualFold(wanted[:len(value)], value):
			precision = 1
		case wanted != "*" && wanted != "*/*":
			continue
		}
		if precision > exact {
			exact, weight = precision, quality(params)
		}
	}
	return weight
}

// quality returns the weight in the parameters of a range, 1 if there is none.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, text, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(text, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

func (o *Options) check() error {
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Minute
	}
	if o.Lifetime > longestLife {
		return fmt.Errorf("nearhttp: Options.Lifetime is %v: want %v at most", o.Lifetime, longestLife)
	}
	if o.MaxBody < 0 {
		return fmt.Errorf("nearhttp: Options.MaxBody is %d: want more than 0", o.MaxBody)
	}
	o.Vary, o.Pass = slices.Clone(o.Vary), slices.Clone(o.Pass)
	seen := make(map[string]bool)
	take := func(option string, name *string) error {
		*name = http.CanonicalHeaderKey(*name)
		switch {
		case *name == "" || strings.ContainsAny(*name, " ,:*\r\n"):
			return fmt.Errorf("nearhttp: %s: %q is no name of a header", option, *name)
		case seen[*name]:
			return fmt.Errorf("nearhttp: %s: %s is there twice", option, *name)
		case slices.Contains(ownHeaders, *name):
			return fmt.Errorf("nearhttp: %s: %s is never shared, or for the cache itself", option, *name)
		}
		seen[*name] = true
		return nil
	}
	var errs []error
	for i := range o.Vary {
		errs = append(errs, take("Options.Vary", &o.Vary[i].Header))
		if o.Vary[i].Reduce == nil {
			errs = append(errs, fmt.Errorf("nearhttp: Options.Vary: %s has no Reduce", o.Vary[i].Header))
		}
	}
	for i := range o.Pass {
		errs = append(errs, take("Options.Pass", &o.Pass[i]))
	}
	return errors.Join(errs...)
}

// ownHeaders are request headers that a handler never gets for a page to be shared.
var ownHeaders = []string{
	"Authorization", "Cookie", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
	"If-Unmodified-Since", "Range",
}
