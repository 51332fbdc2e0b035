package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/nearcache/neardebug"
)

// hostile is a key that would run if a page did not escape it.
const hostile = `"><script>document.title="run"</script><img src=x onerror='document.title="run"'>`

// openDebug shows the page of one of three servers that have been at work.
func openDebug(t *testing.T, size Size) context.Context {
	t.Helper()
	fleet := nearcachetest.NewMemory(t)
	var caches []*nearcache.Cache[string]
	var first *nearcache.Node
	for range 3 {
		node := fleet.Node(nearcache.NodeOptions{})
		users, err := nearcache.New(node, "users", nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}, NotFoundTTL: time.Minute})
		require.NoError(t, err)
		_, err = nearcache.New(node, "votes", nearcache.Options[float64]{})
		require.NoError(t, err)
		caches = append(caches, users)
		if first == nil {
			first = node
		}
	}
	load := func(context.Context, string) (string, error) { return "secret", nil }
	for n := range 400 {
		_, err := caches[n%3].Fetch(t.Context(), fmt.Sprint("user-", n*n%37), load)
		require.NoError(t, err)
		if n%9 == 0 {
			require.NoError(t, caches[n%2].Invalidate(t.Context(), fmt.Sprint("user-", n%5)))
		}
	}
	_, err := caches[0].Fetch(t.Context(), hostile, load)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(first.Peers()) == 2 }, patience, time.Millisecond)
	mux := http.NewServeMux()
	mux.Handle("/debug/nearbus/", neardebug.Handler(first))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	page := Open(t, size)
	require.NoError(t, chromedp.Do(page, chromedp.Navigate(server.URL+"/debug/nearbus/")))
	return page
}

// leads waits until a condition holds on the page that a click leads to. A page that goes
// meanwhile takes the wait with it.
func leads(t *testing.T, page context.Context, condition string) {
	t.Helper()
	var err error
	for range 5 {
		_, err = chromedp.Run(page, chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(patience)))
		if err == nil {
			return
		}
	}
	require.NoError(t, err, condition)
}

// text is that of the page.
const text = `document.body.innerText`

// TestDebug: the page shows caches, journals and other servers with its style; a key is looked
// at by the form and by the link of a costly key, and one that is hostile does nothing.
func TestDebug(t *testing.T) {
	t.Parallel()
	page := openDebug(t, Desk)
	shows(t, page, `getComputedStyle(document.querySelector(".numbers")).display == "grid"`)
	for _, part := range []string{"trusted", "users", "votes", "Keys that cost most", "Journals", "Other servers", "Options in force"} {
		shows(t, page, fmt.Sprintf("%s.includes(%q)", text, part))
	}
	shows(t, page, `!`+text+`.includes("secret")`)
	picture(t, page, "debug")

	require.NoError(t, chromedp.Do(page,
		chromedp.SendKeys(chromedp.CSS(`input[name="key"]`), "user-1"), chromedp.Click(chromedp.CSS("form button"))))
	leads(t, page, `document.querySelector("h1").innerText.includes("user-1") && document.querySelectorAll("tbody tr").length >= 4`)
	picture(t, page, "debug-key")

	require.NoError(t, chromedp.Do(page, chromedp.Click(chromedp.CSS("nav a"))))
	leads(t, page, `document.querySelector('a[href*="script"]')`)
	_, err := chromedp.Run(page, chromedp.Evaluate[int](`document.querySelector('a[href*="script"]').click(), 0`))
	require.NoError(t, err)
	leads(t, page, `document.querySelector("h1").innerText.includes("onerror")`)
	shows(t, page, `document.title.includes("nearbus") && !document.querySelector("script, img")`)
	picture(t, page, "debug-hostile")
}

// TestDebug_Phone: nothing is wider than the window of a phone.
func TestDebug_Phone(t *testing.T) {
	t.Parallel()
	page := openDebug(t, Phone)
	wide, err := chromedp.Run(page, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
	require.NoError(t, err)
	assert.LessOrEqual(t, int64(wide), Phone.Width)
	picture(t, page, "debug-phone")
}

// TestDebug_Dark: the page follows the scheme of its user.
func TestDebug_Dark(t *testing.T) {
	t.Parallel()
	page := openDebug(t, Desk)
	require.NoError(t, chromedp.Do(page, Scheme("dark")))
	shows(t, page, `getComputedStyle(document.documentElement).colorScheme == "light dark"`)
	picture(t, page, "debug-dark")
}
