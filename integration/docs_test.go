package integration_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	for page, text := range pages(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			assert.True(t, matches(declared, match[1]), "%s names %s", page, match[1])
		}
	}
}

// TestDocs_Links: a link to a file of the repository leads to a file, and to a heading that
// the file has.
func TestDocs_Links(t *testing.T) {
	all := pages(t)
	headings := make(map[string][]string)
	for page, text := range all {
		headings[page] = anchors(text)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	for page, text := range all {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			target := page
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(page), match[1])
			}
			_, err := os.Stat(target)
			assert.NoError(t, err, "%s: %s", page, match[0])
			if match[2] != "" {
				assert.Contains(t, headings[target], match[2], "%s: %s", page, match[0])
			}
		}
	}
}

// TestDocs_Questions: the list at the top of the page of questions has each of them.
func TestDocs_Questions(t *testing.T) {
	page, err := os.ReadFile("../docs/faq.md")
	require.NoError(t, err)
	list, answers, found := strings.Cut(string(page), "\n## ")
	require.True(t, found)
	questions := regexp.MustCompile(`(?m)^### .*$`).FindAllString(answers, -1)
	require.NotEmpty(t, questions)
	for _, question := range questions {
		assert.Contains(t, list, "](#"+anchors(question)[0]+")", "%s", question)
	}
}

// TestDocs_Sources: a file or directory of the library that a page names is there.
func TestDocs_Sources(t *testing.T) {
	named := regexp.MustCompile("`((?:nearcache|shared|bus)/[a-z/]+(?:\\.go)?)`")
	for page, text := range pages(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join("..", match[1]))
			assert.NoError(t, err, "%s", page)
		}
	}
}

// TestDocs_Hazards: the page has each hazard, and names each test of it there.
func TestDocs_Hazards(t *testing.T) {
	page, err := os.ReadFile("../docs/design/hazards.md")
	require.NoError(t, err)
	sections := strings.Split(string(page), "\n## ")
	named := regexp.MustCompile("`(Test[A-Za-z0-9_]*\\*?)`")
	tests := declaredTests(t)
	for n := 1; n <= 20; n++ {
		at := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("Hazard %d\n", n)) })
		require.Positive(t, at, "hazard %d", n)
		var names []string
		for _, match := range named.FindAllStringSubmatch(sections[at], -1) {
			names = append(names, match[1])
		}
		require.NotEmpty(t, names, "hazard %d", n)
		for _, test := range tests {
			if strings.HasPrefix(test, fmt.Sprintf("TestHazard%d_", n)) {
				assert.True(t, slices.ContainsFunc(names, func(name string) bool { return matches([]string{test}, name) }),
					"hazard %d does not name %s", n, test)
			}
		}
	}
	numbered := regexp.MustCompile(`^TestHazard(\d+)_`)
	for _, test := range tests {
		if number := numbered.FindStringSubmatch(test); number != nil {
			assert.Contains(t, string(page), "\n## Hazard "+number[1]+"\n", test)
		}
	}
}

// anchors returns the names of the headings of a page, as GitHub makes them.
func anchors(page string) (names []string) {
	page = regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(page, "")
	mark := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := mark.ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// pages returns the text of all pages, by their paths.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != ".." {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	}))
	return all
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
