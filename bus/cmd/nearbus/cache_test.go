package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestCheck: what is refused as a name of a cache, a key or a tag is what caches refuse.
func TestCheck(t *testing.T) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	defer tier.Close()
	for _, cache := range []string{"users", "a.b-c_D9", strings.Repeat("x", 64), strings.Repeat("x", 65), "", ".a", "a b", "a:b", "é"} {
		_, err := nearcache.InspectShared(t.Context(), tier, cache, "42", nearcache.InspectOptions{})
		assert.Equal(t, err == nil, checkCache(cache) == nil, "%q: %v", cache, err)
	}
	for _, size := range []int{0, 1, 1018, 1019} {
		key := strings.Repeat("k", size)
		_, err := nearcache.InspectShared(t.Context(), tier, "users", key, nearcache.InspectOptions{})
		assert.Equal(t, err == nil, checkKey("users", key) == nil, "%d: %v", size, err)
	}
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	require.NoError(t, err)
	defer node.Close(t.Context())
	users, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	for _, size := range []int{0, 1, 256, 257} {
		tag := strings.Repeat("t", size)
		err := users.InvalidateTags(t.Context(), tag)
		assert.Equal(t, err == nil, checkTag(tag) == nil, "%d: %v", size, err)
	}
}

// TestNoCache: of many caches, those of similar names are named.
func TestNoCache(t *testing.T) {
	names := []string{"accounts", "carts", "items", "orders", "prices", "roles", "stock", "tokens", "usage", "users"}
	assert.True(t, hasCache(names, "users"))
	assert.True(t, hasCache(nil, "users"), "nobody tells")
	assert.False(t, hasCache(names, "usres"))
	assert.Regexp(t, "^no server has a cache usres; they have users, .*, usage, .* and 2 more$", noCache(names, "usres"))
	for pair, want := range map[[2]string]int{{"", ""}: 0, {"", "ab"}: 2, {"ab", ""}: 2, {"users", "usres"}: 2, {"user", "users"}: 1, {"kitten", "sitting"}: 3} {
		assert.Equal(t, want, distance(pair[0], pair[1]), pair)
	}
}
