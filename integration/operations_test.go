package integration_test

import (
	"os"
	"reflect"
	"regexp"
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
	assert.Contains(t, page, "~nearbus-shop:* &nearbus-shop "+strings.Join(together(storeRights, journalRights, busRights), " ")+"\n")
	for _, rights := range [][]string{storeRights, journalRights, busRights} {
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
	fields := regexp.MustCompile("`((?:shared\\.|bus\\.)?(?:Health|NodeStats|Stats))\\.(\\w+)`").FindAllStringSubmatch(alerts, -1)
	require.NotEmpty(t, fields)
	for _, f := range fields {
		_, field := types[f[1]].FieldByName(f[2])
		_, method := types[f[1]].MethodByName(f[2])
		assert.True(t, field || method, "%s.%s", f[1], f[2])
	}
}
