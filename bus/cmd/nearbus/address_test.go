package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]address{
		"redis://h":                          {scheme: "redis", hosts: []string{"h:6379"}},
		"redis://:p%40ss@h:1/2":              {scheme: "redis", password: "p@ss", hosts: []string{"h:1"}, path: "2"},
		"rediss+cluster://u:p@a,b:7,[::1]":   {scheme: "rediss+cluster", user: "u", password: "p", hosts: []string{"a:6379", "b:7", "[::1]:6379"}},
		"redis+sentinel://a,b/main?db=3":     {scheme: "redis+sentinel", hosts: []string{"a:26379", "b:26379"}, path: "main"},
		"memcached://a,b:2":                  {scheme: "memcached", hosts: []string{"a:11211", "b:2"}},
		"redis://u:p%2F%3F%23%25@[fe80::1]/": {scheme: "redis", user: "u", password: "p/?#%", hosts: []string{"[fe80::1]:6379"}},
	} {
		got, err := parseAddress("store", text, storeSchemes...)
		require.NoError(t, err, text)
		query := got.query
		got.query = nil
		assert.Equal(t, want, *got, text)
		if strings.Contains(text, "?db=") {
			assert.Equal(t, "3", query.Get("db"))
		}
		assert.NotContains(t, got.String(), "p@")
	}
	a, err := parseAddress("bus", "tls+jetstream://h", busSchemes...)
	require.NoError(t, err)
	assert.True(t, a.encrypted())
	assert.Equal(t, "nats+jetstream", a.kind())
}

// TestParseAddress_Refused: what is no URL is refused, without anything that may be of a password.
func TestParseAddress_Refused(t *testing.T) {
	for _, text := range []string{
		"", "h", "h:6379", "http://h", "redis:h", "redis://", "redis://h:", "redis://h:x", "redis://a,,b", "redis://[::1", "redis://::1",
		"redis://u:s3cret/x@h", "redis://u:s3cret%zz@h", "redis://u:s3cret?@h", "redis://u:s3cret#@h", "redis://u:s3 cret@h", "redis://h?%zz",
		"redis://u:s3cret", "redis://:s3cret",
	} {
		_, err := parseAddress("store", text, storeSchemes...)
		require.Error(t, err, text)
		assert.NotContains(t, err.Error(), "s3", text)
	}
}

// TestSecurity_ServerName: certificates are of hosts without a port, also of addresses of IPv6.
func TestSecurity_ServerName(t *testing.T) {
	for text, want := range map[string]string{"rediss://h:1": "h", "rediss://[::1]": "::1", "tls://10.0.0.1,b": "10.0.0.1"} {
		a, err := parseAddress("bus", text, busSchemes...)
		require.NoError(t, err)
		config, err := new(invocation).security(a)
		require.NoError(t, err)
		assert.Equal(t, want, config.ServerName, text)
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("redis+sentinel://u:s3cret@a,b:1/main?db=3")
	f.Add("redis://[::1]:6379")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress("store", text, storeSchemes...)
		if err != nil {
			return
		}
		require.NotEmpty(t, a.hosts)
		for _, host := range a.hosts {
			again, err := withPort(host, "1")
			require.NoError(t, err)
			require.Equal(t, host, again)
		}
	})
}
