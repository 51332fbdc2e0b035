package bus_test

import (
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// TestText_Ignored: with IgnoreText nothing that is written by hand is carried out.
func TestText_Ignored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b, n := newBus(t, link, bus.Options{IgnoreText: true}), &notes{}
		require.NoError(t, b.Subscribe(n.handler()))
		synctest.Wait()
		require.Equal(t, []string{"ready"}, n.take())
		for _, text := range []string{"clear users", "delete users 42", "nonsense"} {
			require.NoError(t, link.Transport.Publish(t.Context(), []byte(text)))
		}
		require.NoError(t, b.Publish(t.Context(), deletion("heard")))
		synctest.Wait()
		assert.Equal(t, []string{"heard"}, n.take())
		stats := b.Stats()
		assert.EqualValues(t, 3, stats.IgnoredText)
		assert.Zero(t, stats.Text)
		assert.Zero(t, stats.Malformed)
		assert.Zero(t, stats.Gaps)
	})
}

// TestLogger_HearsOfGarbageOnce: a line when what cannot be read begins to come, with the
// cause and without what it says, and another one when none came for a minute, with how
// much it was.
func TestLogger_HearsOfGarbageOnce(t *testing.T) {
	for payload, reason := range map[string]string{
		"secret users 42":       "the first word is none of invalidate",
		"delete":                "no cache is named",
		"delete secret":         "key of 0 bytes",
		"delete users \"secret": "a word is not quoted",
		"\x00secret":            "it is none of this package, and no text",
		"invalidate-tags users " + strings.Repeat("secret", 50): "tag of 300 bytes",
		"\xf8\x01":           "it is damaged",
		"\xf8\x02\x01secret": "it is of a newer format",
	} {
		synctest.Test(t, func(t *testing.T) {
			var log logged
			link := newScript()
			b := newBus(t, link, bus.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, b.Subscribe((&notes{}).handler()))
			lines := func(level string) int { synctest.Wait(); return strings.Count(log.String(), "level="+level) }
			synctest.Wait()
			for range 2 {
				log.forget()
				for range 50 {
					require.NoError(t, link.Transport.Publish(t.Context(), []byte(payload)))
					time.Sleep(10 * time.Second)
				}
				assert.Equal(t, 1, lines("WARN"), payload)
				assert.Zero(t, lines("INFO"), payload)
				assert.Contains(t, log.String(), reason)
				time.Sleep(time.Minute)
				assert.Equal(t, 1, lines("WARN"), payload)
				assert.Equal(t, 1, lines("INFO"), payload)
				assert.Contains(t, log.String(), "count=50 after=8m10s")
				assert.NotContains(t, log.String(), "secret")
			}
			stats := b.Stats()
			assert.EqualValues(t, 100, stats.Malformed+stats.Newer)
		})
	}
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex // protects text
	text strings.Builder
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}
