package command_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// inspected is what inspect says as JSON.
type inspected struct {
	Kind, Why, Value string
	Tags             []struct {
		Name  string
		Ended bool
	}
	Journal struct {
		Found bool
		Later int
	}
}

func (s *site) inspect(args ...string) (i inspected) {
	s.t.Helper()
	code, out, errs := s.run(append([]string{"inspect", "-format", "json"}, args...)...)
	require.Zero(s.t, code, errs)
	require.NoError(s.t, json.Unmarshal([]byte(out), &i))
	return i
}

// TestInspect: what the shared tier has of a key is said in a sentence, from its first load to its
// end, and changes nothing.
func TestInspect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.join("web-1", nearcache.Options[string]{})
	s.requireAlike(1)
	i := s.inspect("users", "42")
	assert.Equal(t, "none", i.Kind)
	assert.False(t, i.Journal.Found)
	m.fetch(t, "blue")
	i = s.inspect("users", "42", "-tags", "blue,red")
	assert.Equal(t, "value", i.Kind)
	assert.Empty(t, i.Value)
	require.Len(t, i.Tags, 1)
	assert.Equal(t, "blue", i.Tags[0].Name)
	assert.False(t, i.Tags[0].Ended)
	assert.NotEmpty(t, s.inspect("users", "42", "-value").Value)

	require.NoError(t, m.InvalidateTags(t.Context(), "blue"))
	i = s.inspect("users", "42", "-tags", "blue")
	assert.True(t, i.Tags[0].Ended)
	assert.Contains(t, i.Why, "tag")
	require.NoError(t, m.Delete(t.Context(), "42"))
	i = s.inspect("users", "42")
	assert.Equal(t, "tombstone", i.Kind)
	assert.True(t, i.Journal.Found)
	assert.Zero(t, i.Journal.Later)
	require.NoError(t, m.Set(t.Context(), "43", "secret"))
	require.NoError(t, m.Clear(t.Context()))
	assert.Contains(t, s.inspect("users", "43").Why, "clear")

	before := s.client().DBSize(t.Context()).Val()
	code, out, errs := s.run("inspect", "users", "43")
	require.Zero(t, code, errs)
	assert.Contains(t, out, `record   "users:43"`)
	assert.NotContains(t, out, "secret")
	code, out, errs = s.run("inspect", "users", "43", "-value")
	require.Zero(t, code, errs)
	assert.Contains(t, out, `value: "\"secret\""`)
	code, _, errs = s.run("inspect", "users", "43", "-partitions", "7")
	require.Zero(t, code)
	assert.Contains(t, errs, "no server has used this namespace and number of partitions here yet")
	assert.Equal(t, before, s.client().DBSize(t.Context()).Val(), "it makes nothing")
	code, out, errs = s.run("inspect", "usres", "43")
	assert.Equal(t, 1, code)
	assert.Empty(t, out)
	assert.Equal(t, "nearbus inspect: no server has a cache usres; they have users\n", errs)
	code, out, errs = s.run("inspect", "usres", "43", "-bus", "nats://127.0.0.1:1")
	require.Zero(t, code)
	assert.Contains(t, out, "nothing is stored")
	assert.Contains(t, errs, "it is not known whether a server has a cache usres: the bus: nats://127.0.0.1:1")
	for says, args := range map[string][]string{
		"want a cache and a key, not 1 argument;": {"users"},
		"CACHE is users:":                         {"users:", "42"},
		"-entries is negative":                    {"users", "42", "-entries", "-1"},
		"where is the shared tier?":               {"users", "42", "-store="},
		"connect: connection refused":             {"users", "42", "-store", "redis://127.0.0.1:1"},
	} {
		code, _, errs := s.run(append([]string{"inspect"}, args...)...)
		assert.NotZero(t, code)
		assert.Contains(t, errs, says)
	}
}
