package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMetrics_Scrape: what a scrape says of three reads of a user.
func TestMetrics_Scrape(t *testing.T) {
	s, _ := newService(t)
	for range 3 {
		require.Equal(t, http.StatusOK, request(s, "GET", "/users/7", "").Code)
	}
	w := request(s, "GET", "/metrics", "")
	require.Equal(t, http.StatusOK, w.Code)
	for _, line := range []string{
		`nearbus_cache_hits_total{cache="users"} 2`,
		`nearbus_cache_misses_total{cache="users"} 1`,
		`nearbus_cache_loads_total{cache="users"} 1`,
		"nearbus_node_trusted 1",
		"nearbus_near_entries 1",
		"nearbus_shared_retries_total 0",
		"# TYPE nearbus_node_behind_seconds gauge",
	} {
		assert.Contains(t, w.Body.String(), line+"\n")
	}
}
