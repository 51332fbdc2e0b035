package integration_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocs: every test and example that a page names is there to be run. A name
// may end in a star.
func TestDocs(t *testing.T) {
	declared := declaredTests(t)
	named := regexp.MustCompile("`((?:Test|Fuzz|Example)[A-Za-z0-9_]*\\*?)`")
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, match := range named.FindAllStringSubmatch(string(text), -1) {
			assert.True(t, matches(declared, match[1]), "%s names %s", page, match[1])
		}
	}
}

func matches(declared []string, name string) bool {
	start, open := strings.CutSuffix(name, "*")
	for _, d := range declared {
		if d == name || open && strings.HasPrefix(d, start) {
			return true
		}
	}
	return false
}

// declaredTests returns the tests, fuzz targets and examples of all modules.
func declaredTests(t *testing.T) (names []string) {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range declaration.FindAllStringSubmatch(string(source), -1) {
			names = append(names, match[1])
		}
		return err
	})
	require.NoError(t, err)
	return names
}

// TestDocs_Assumptions: each row of the page says what the library does, in one of four
// words, and the page counts them as they are.
func TestDocs_Assumptions(t *testing.T) {
	page, err := os.ReadFile("../docs/assumptions.md")
	require.NoError(t, err)
	counts := make(map[string]int)
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || cells[1] == " assumption " || cells[1] == "---" {
			continue
		}
		rows++
		word := regexp.MustCompile(`^(refuses|warns|tolerates|nothing)\b`).FindString(strings.TrimSpace(cells[3]))
		assert.NotEmpty(t, word, "%s", line)
		counts[word]++
	}
	require.NotZero(t, rows)
	assert.Contains(t, string(page), fmt.Sprintf(
		"Of %d rows, by what comes first: %d refuse, %d warn, %d tolerate, of %d nobody notices.",
		rows, counts["refuses"], counts["warns"], counts["tolerates"], counts["nothing"]))
}

// TestDocs_Options: the page of options has every one of the library.
func TestDocs_Options(t *testing.T) {
	page, err := os.ReadFile("../docs/options.md")
	require.NoError(t, err)
	declared := optionFields(t, "../nearcache", "../shared", "../bus")
	require.Greater(t, len(declared), 50)
	for _, name := range declared {
		assert.Contains(t, string(page), "`"+name+"`")
	}
}

// optionFields returns the exported fields of all option structs in trees of packages,
// as package.Type.Field.
func optionFields(t *testing.T, roots ...string) (names []string) {
	t.Helper()
	declared := regexp.MustCompile(`(?ms)^type (\w*Options)(?:\[V any\])? struct \{$(.*?)^\}`)
	field := regexp.MustCompile(`(?m)^\t([A-Z]\w*(?:, [A-Z]\w*)*) `)
	for _, root := range roots {
		require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "internal") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, options := range declared.FindAllStringSubmatch(string(source), -1) {
				for _, fields := range field.FindAllStringSubmatch(options[2], -1) {
					for name := range strings.SplitSeq(fields[1], ", ") {
						names = append(names, filepath.Base(filepath.Dir(path))+"."+options[1]+"."+name)
					}
				}
			}
			return err
		}))
	}
	return names
}
