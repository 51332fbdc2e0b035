package nearcache

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unset returns what the table says of an option that is off by default.
func unset[T comparable](value T, off string) string {
	if value == *new(T) {
		return off
	}
	return fmt.Sprint(value)
}

// TestOptionsPage_Defaults holds the table of options against the code.
func TestOptionsPage_Defaults(t *testing.T) {
	node := NodeOptions{}.withDefaults()
	cache := plain{}.withDefaults(true)
	ttlOnly := plain{}.withDefaults(false)
	require.Equal(t, cache.TTL, cache.NearTTL)
	want := map[string]string{
		"nearcache.NodeOptions.NearBytes":      fmt.Sprintf("%d MiB", node.NearBytes>>20),
		"nearcache.NodeOptions.AuditRate":      "0",
		"nearcache.NodeOptions.MaxStaleness":   node.MaxStaleness.String() + ", or twice `JournalInterval`",
		"nearcache.WarmOptions.KeysPerSecond":  fmt.Sprintf("%d,%03d", warmRate/1000, warmRate%1000),
		"nearcache.Options.TTL":                cache.TTL.String(),
		"nearcache.Options.NearTTL":            "TTL; without a bus " + ttlOnly.NearTTL.String() + " at most",
		"nearcache.Options.LoadTimeout":        cache.LoadTimeout.String(),
		"nearcache.Options.NotFoundTTL":        unset(cache.NotFoundTTL, "not remembered"),
		"nearcache.Stale.For":                  unset(cache.Stale.For, "nothing is kept"),
		"nearcache.Stale.RetryAfter":           plain{Stale: Stale{For: 1}}.withDefaults(true).Stale.RetryAfter.String(),
		"nearcache.Stale.Timeout":              unset(cache.Stale.Timeout, "none"),
		"nearcache.Options.RefreshAhead":       unset(cache.RefreshAhead, "none"),
		"nearcache.Options.TTLJitter":          fmt.Sprint(cache.TTLJitter),
		"nearcache.Options.MaxConcurrentLoads": unset(cache.MaxConcurrentLoads, "no limit"),
		"nearcache.Options.SourceLag":          unset(cache.SourceLag, "0"),
		"nearcache.Options.SchemaVersion":      "0",
		"nearcache.Options.Clone":              "none",
		"nearcache.Options.ReadCodecs":         "none",
		"nearcache.Options.ErrorsAsMisses":     "false",
	}
	page, err := os.ReadFile("../docs/options.md")
	require.NoError(t, err)
	found := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		name := strings.Trim(cells[1], " `")
		if value, ok := want[name]; ok {
			assert.Equal(t, value, strings.TrimSpace(cells[2]), name)
			found++
		}
	}
	assert.Equal(t, len(want), found, "options of this package in the table")
}
