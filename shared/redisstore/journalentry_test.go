package redisstore

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

// TestReadEntry: whatever somebody else added to the journal, or a server answers, is an
// error and no panic.
func TestReadEntry(t *testing.T) {
	e, err := readEntry([]any{"17-0", []any{"k", "\x00\x00\x00\x00\x00\x00\x00\x05users:1"}})
	require.NoError(t, err)
	assert.Equal(t, entry{number: 17, nonce: 5, key: "users:1"}, e)
	e, err = readEntry([]any{"17-0", []any{"k", "12345678"}})
	require.NoError(t, err, "a new journal")
	assert.Empty(t, e.key)
	for name, answer := range map[string]any{
		"nothing":           nil,
		"no list":           "17-0",
		"an empty list":     []any{},
		"an id alone":       []any{"17-0"},
		"too much":          []any{"17-0", []any{"k", "12345678"}, "x"},
		"no fields":         []any{"17-0", nil},
		"an odd field":      []any{"17-0", []any{"k"}},
		"several fields":    []any{"17-0", []any{"k", "12345678", "l", "x"}},
		"no text":           []any{"17-0", []any{"k", int64(8)}},
		"too short a field": []any{"17-0", []any{"k", "1234567"}},
		"no number":         []any{"x-0", []any{"k", "12345678"}},
		"no id":             []any{int64(17), []any{"k", "12345678"}},
	} {
		_, err := readEntry(answer)
		assert.ErrorIs(t, err, errAnswer, name)
	}
}

// TestReadFew: an answer without a list of entries is an error, and not a journal without news.
func TestReadFew(t *testing.T) {
	few := func(entries any) (tail driver.Tail, err error) {
		cmd := redis.NewCmd(t.Context())
		cmd.SetVal([]any{"", "0", "17", "", int64(0), "", "", "", "", entries})
		return tail, readFew(&tail, cmd, 2)
	}
	for name, answer := range map[string]any{
		"nothing":         nil,
		"no list":         "17-0",
		"no list of them": []any{"17-0"},
	} {
		_, err := few(answer)
		assert.ErrorIs(t, err, errAnswer, name)
	}
	tail, err := few([]any{})
	require.NoError(t, err)
	assert.False(t, tail.More)
}
