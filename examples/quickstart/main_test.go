package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func brief() config {
	return config{nodes: 3, readers: 2, keys: 100, writes: 100, duration: 1500 * time.Millisecond, bound: 500 * time.Millisecond}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), brief(), &out, false))
	assert.Contains(t, out.String(), "stale after 500ms          0 reads, 0 writes not seen everywhere")
	assert.NotContains(t, out.String(), "\x1b", "plain lines where there is no terminal")
}

func TestRun_OnATerminal(t *testing.T) {
	cfg := brief()
	cfg.duration = 300 * time.Millisecond
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), cfg, &out, true))
	assert.Contains(t, out.String(), "\x1b[5A", "the lines are drawn again")
}

// TestRun_BrokenBus: the judge sees what is to be seen.
func TestRun_BrokenBus(t *testing.T) {
	cfg := brief()
	cfg.broken = true
	var out bytes.Buffer
	require.ErrorIs(t, run(t.Context(), cfg, &out, false), errStale)
}

func TestRun_Refuses(t *testing.T) {
	for want, change := range map[string]func(*config){
		"at least 2 nodes": func(c *config) { c.nodes = 1 },
		"not a URL":        func(c *config) { c.redisURL = "nonsense" },
		"REDIS_URL":        func(c *config) { c.redisURL = "redis://127.0.0.1:1" },
		"NATS_URL":         func(c *config) { c.natsURL = "nats://127.0.0.1:1" },
	} {
		cfg := brief()
		change(&cfg)
		require.ErrorContains(t, run(t.Context(), cfg, &bytes.Buffer{}, false), want)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		assert.Equal(t, want, count(n))
	}
}
