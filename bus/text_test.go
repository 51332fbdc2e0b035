package bus_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
)

func TestText_Decodes(t *testing.T) {
	invalidate := func(keys ...string) (invs []bus.Invalidation) {
		for _, key := range keys {
			invs = append(invs, bus.Invalidation{Op: bus.OpInvalidate, Cache: "users", Key: key})
		}
		return invs
	}
	for text, want := range map[string][]bus.Invalidation{
		"invalidate users 42":                 invalidate("42"),
		"invalidate users 42 43":              invalidate("42", "43"),
		"invalidate  users\t42  43 \r\n":      invalidate("42", "43"),
		`invalidate users "John Smith" plain`: invalidate("John Smith", "plain"),
		`invalidate users "\xff\x00\"\n"`:     invalidate("\xff\x00\"\n"),
		"invalidate users ключ key=1:2/3\\":   invalidate("ключ", `key=1:2/3\`),
		`invalidate "users" 42`:               invalidate("42"),
		"delete users 42":                     {{Op: bus.OpDelete, Cache: "users", Key: "42"}},
		`invalidate-tags users org:7 "a b"`:   {{Op: bus.OpTag, Cache: "users", Key: "org:7"}, {Op: bus.OpTag, Cache: "users", Key: "a b"}},
		"clear users\n":                       {{Op: bus.OpClear, Cache: "users"}},
		`clear "a b"`:                         {{Op: bus.OpClear, Cache: "a b"}},
	} {
		got, err := bus.DecodeText([]byte(text))
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestText_Refuses(t *testing.T) {
	for _, text := range []string{
		"", "invalidate", "invalidate users", "delete users", "clear", "clear users 42",
		"set users 42", "Invalidate users 42", "INVALIDATE users 42", "get users 42", "hello world",
		"invalidate users 42\ndelete users 43",
		`invalidate users "42`, `invalidate users 4"2`, `invalidate users "4"2`, "invalidate users `42`\x00",
		`invalidate users ""`, `invalidate "" 42`, "invalidate users 4\xff2", "invalidate users 4\x002",
		`invalidate users "\q"`, "invalidate users 42 " + strings.Repeat("k", 1025),
		"invalidate " + strings.Repeat("c", 256) + " 42",
		"invalidate-tags users", `invalidate-tags users ""`, "invalidate-tags users " + strings.Repeat("t", 257),
		"invalidate users " + strings.Repeat("k ", bus.MaxPayload/2),
	} {
		got, err := bus.DecodeText([]byte(text))
		assert.ErrorIs(t, err, bus.ErrText, text)
		assert.Empty(t, got, text)
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("invalidate users 42 43"))
	f.Add([]byte(`delete users "a b\xff"`))
	f.Add([]byte("clear users"))
	f.Add([]byte("invalidate-tags users org:7 org:8"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := bus.DecodeText(payload)
		if err != nil {
			require.Empty(t, got)
			return
		}
		require.NotEmpty(t, got)
		// Quoting every word says the same.
		words := []string{strings.Fields(string(payload))[0], strconv.Quote(got[0].Cache)}
		for _, inv := range got {
			if inv.Op != bus.OpClear {
				words = append(words, strconv.Quote(inv.Key))
			}
		}
		quoted := strings.Join(words, " ")
		if len(quoted) > bus.MaxPayload {
			return
		}
		again, err := bus.DecodeText([]byte(quoted))
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
