package main

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
)

// address is a URL of servers.
type address struct {
	scheme         string
	user, password string
	hosts          []string // with ports
	path           string   // without slashes
	query          url.Values
}

// defaultPorts are those of the schemes that a URL may have.
var defaultPorts = map[string]string{
	"redis": "6379", "rediss": "6379",
	"redis+cluster": "6379", "rediss+cluster": "6379",
	"redis+sentinel": "26379", "rediss+sentinel": "26379",
	"memcached": "11211",
	"nats":      "4222", "tls": "4222",
	"nats+jetstream": "4222", "tls+jetstream": "4222",
}

// parseAddress reads a URL, which may have several hosts with commas in between. The error says
// nothing of what is in the URL: that may be a password.
func parseAddress(flag, text string, schemes ...string) (*address, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || !slices.Contains(schemes, scheme) {
		return nil, usagef("-%s must begin with one of %s", flag, strings.Join(schemes, "://, ")+"://")
	}
	invalid := usagef("-%s is no valid URL: want %s://USER:PASSWORD@HOST:PORT, with what is special in a password as %%XX", flag, scheme)
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	userinfo, hosts := "", authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		userinfo, hosts = authority[:at+1], authority[at+1:]
	}
	u, err := url.Parse("x://" + userinfo + "host" + tail)
	if err != nil {
		return nil, invalid
	}
	a := &address{scheme: scheme, path: strings.Trim(u.Path, "/")}
	if a.query, err = url.ParseQuery(u.RawQuery); err != nil {
		return nil, invalid
	}
	a.user = u.User.Username()
	a.password, _ = u.User.Password()
	if strings.Contains(tail, "@") {
		return nil, invalid // the authority is the beginning of a password
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if host, err = withPort(host, defaultPorts[scheme]); err != nil {
			return nil, usagef("-%s: %w", flag, err)
		}
		a.hosts = append(a.hosts, host)
	}
	return a, nil
}

// withPort returns host with a port. What is none may be a password without a host behind it.
func withPort(host, port string) (string, error) {
	bare := strings.Trim(host, "[]")
	if !strings.Contains(host, ":") || strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = net.JoinHostPort(bare, port)
	}
	name, number, err := net.SplitHostPort(host)
	if err != nil || name == "" || number == "" || strings.Trim(number, "0123456789") != "" {
		return "", errors.New("what is to be a host is none, or has no valid port")
	}
	return host, nil
}

// encrypted reports whether connections are.
func (a *address) encrypted() bool {
	return strings.HasPrefix(a.scheme, "rediss") || strings.HasPrefix(a.scheme, "tls")
}

// kind returns the scheme without what says that connections are encrypted.
func (a *address) kind() string {
	return strings.Replace(strings.Replace(a.scheme, "rediss", "redis", 1), "tls", "nats", 1)
}

// String returns the address without user and password.
func (a *address) String() string {
	text := a.scheme + "://" + strings.Join(a.hosts, ",")
	if a.path != "" {
		text += "/" + a.path
	}
	return text
}
