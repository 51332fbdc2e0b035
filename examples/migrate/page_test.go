package migrate_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/migrate.md")
	require.NoError(t, err)
	return string(text)
}

// TestPage_Rows: the table of the page says of each cache what the suite holds.
func TestPage_Rows(t *testing.T) {
	text := page(t)
	for _, s := range append(starts(), end()) {
		cells := []string{"", s.link(), s.elsewhere(), s.overtaken(), s.cutOff(), s.silent(), s.miss(), ""}
		assert.Contains(t, text, strings.TrimSpace(strings.Join(cells, " | "))+"\n")
	}
}

const (
	untilNearTTL = "old until the near TTL"
	prompt       = "new, a message later"
)

func (s start) link() string { return fmt.Sprintf("[%s](../examples/migrate/%[1]s/users.go)", s.name) }

func (s start) elsewhere() string {
	if s.untold {
		return untilNearTTL
	}
	return prompt
}

func (s start) overtaken() string {
	switch {
	case s.spreads:
		return "old on every server, until the TTL in Redis"
	case s.refills:
		return "old there until the near TTL"
	}
	return "new"
}

func (s start) cutOff() string {
	if s.untold || s.misses {
		return untilNearTTL
	}
	return "new, once connected"
}

func (s start) silent() string {
	switch {
	case s.untold:
		return untilNearTTL
	case s.deaf:
		return "old"
	case s.loops:
		return "old for 10 s, then errors"
	}
	return "new after `MaxStaleness` (2 s)"
}

func (s start) miss() string {
	if s.overload {
		return "each server"
	}
	return "one server"
}

// TestPage_Lines: the page has the lines of each move as git counts them.
func TestPage_Lines(t *testing.T) {
	text := page(t)
	for _, s := range starts() {
		// The exit status is 1 where files differ.
		out, _ := exec.Command("git", "diff", "--no-index", "--numstat", s.name, "nearbus").Output()
		counts := strings.Fields(string(out))
		require.Greater(t, len(counts), 2, s.name)
		assert.Contains(t, text, fmt.Sprintf("| %s | %s | %s |\n", s.name, counts[1], counts[0]))
	}
}

// TestPage_Code: all Go code of the page is code of the example.
func TestPage_Code(t *testing.T) {
	var source strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "/users.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	}))
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(page(t), -1)
	assert.Greater(t, len(blocks), len(starts()))
	for _, block := range blocks {
		assert.Contains(t, source.String(), block[1])
	}
}

// TestPage_Versions: the page names the versions of the caches that the tests run.
func TestPage_Versions(t *testing.T) {
	text := page(t)
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	for _, name := range []string{
		"github.com/go-redis/cache/v9", "github.com/redis/go-redis/v9", "github.com/redis/rueidis", "github.com/eko/gocache/lib/v4",
		"github.com/dgraph-io/ristretto/v2", "github.com/hashicorp/golang-lru/v2",
	} {
		required := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(name) + ` (v\S+)`).FindStringSubmatch(string(mod))
		require.NotNil(t, required, name)
		assert.Contains(t, text, "`"+name+"` "+required[1])
	}
}
