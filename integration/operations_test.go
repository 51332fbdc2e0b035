package integration_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// TestOperations_SaysWhatIsTested: the page has the rights that the tests of this
// module use, and no field that does not exist.
func TestOperations_SaysWhatIsTested(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	page := string(content)
	assert.Contains(t, page, "~nearbus-shop:* &nearbus-shop "+strings.Join(together(storeRights, longRights, touchRights, journalRights, busRights), " ")+"\n")
	for _, rights := range [][]string{storeRights, longRights, touchRights, journalRights, busRights} {
		assert.Contains(t, page, "`"+strings.Join(rights, " ")+"`")
	}
	for _, right := range together(shardedRights, quietRights) {
		assert.Contains(t, page, strings.ReplaceAll(right, "|", `\|`))
	}
	for _, right := range together(streamPublishRights, inboxRights) {
		assert.Contains(t, page, "`"+right+"`")
	}
	types := map[string]reflect.Type{
		"Health": reflect.TypeFor[nearcache.Health](), "NodeStats": reflect.TypeFor[nearcache.NodeStats](),
		"Stats": reflect.TypeFor[nearcache.Stats](), "shared.Stats": reflect.TypeFor[shared.Stats](),
		"bus.Stats": reflect.TypeFor[bus.Stats](),
	}
	_, alerts, found := strings.Cut(page, "## What to alert on")
	require.True(t, found)
	fields := regexp.MustCompile("`((?:shared\\.|bus\\.)?(?:Health|NodeStats|Stats))\\.([\\w.]+)`").FindAllStringSubmatch(alerts, -1)
	require.NotEmpty(t, fields)
	for _, f := range fields {
		of, known := types[f[1]], true
		for name := range strings.SplitSeq(f[2], ".") {
			field, isField := of.FieldByName(name)
			_, isMethod := of.MethodByName(name)
			if known = isField || isMethod; !isField {
				break
			}
			of = field.Type
			if of.Kind() != reflect.Struct {
				of = reflect.TypeFor[struct{}]()
			}
		}
		assert.True(t, known, "%s.%s", f[1], f[2])
	}
}

// TestOperations_Logs: the page has each line that a node or a bus logs, at its level, and
// no other.
func TestOperations_Logs(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| (ERROR|WARN|INFO) \\| `([^`]+)` ").FindAllStringSubmatch(string(content), -1)
	said := logged(t, "../nearcache", "../bus")
	for _, line := range said {
		assert.True(t, slices.ContainsFunc(rows, func(row []string) bool {
			return row[1] == line.level && strings.HasPrefix(row[2], line.text) && (line.open || row[2] == line.text)
		}), "the page lacks %s %q", line.level, line.text)
	}
	for _, row := range rows {
		assert.True(t, slices.ContainsFunc(said, func(line logLine) bool {
			return row[1] == line.level && strings.HasPrefix(row[2], line.text)
		}), "nobody logs %s %q", row[1], row[2])
	}
}

// logLine is one that the library logs.
type logLine struct {
	level, text string
	open        bool // it goes on
}

// logged returns the lines that the packages in some directories log, above DEBUG.
func logged(t *testing.T, dirs ...string) (all []logLine) {
	t.Helper()
	call := regexp.MustCompile(`\.(Error|Warn|Info)\(\s*"((?:nearcache|bus): [^"]+)"(\s*\+)?`)
	for _, dir := range dirs {
		files, err := filepath.Glob(dir + "/*.go")
		require.NoError(t, err)
		inner, err := filepath.Glob(dir + "/internal/*/*.go")
		require.NoError(t, err)
		for _, file := range append(files, inner...) {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range call.FindAllStringSubmatch(string(source), -1) {
				if !strings.HasSuffix(file, "_test.go") {
					all = append(all, logLine{level: strings.ToUpper(m[1]), text: m[2], open: m[3] != ""})
				}
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}
