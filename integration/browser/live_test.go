package browser

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/quickstart/live"
)

// picturesVariable names a directory in which tests leave pictures of what they saw.
const picturesVariable = "NEARBUS_PICTURES"

// picture leaves one in the directory, if there is one.
func picture(t *testing.T, page context.Context, name string) {
	t.Helper()
	if dir := os.Getenv(picturesVariable); dir != "" {
		require.NoError(t, chromedp.Do(page, Screenshot(filepath.Join(dir, name+".png"))))
	}
}

// openLive shows the page of the quickstart.
func openLive(t *testing.T, size Size) context.Context {
	t.Helper()
	demo, err := live.New()
	require.NoError(t, err)
	t.Cleanup(demo.Close)
	server := httptest.NewServer(demo.Handler())
	t.Cleanup(server.Close)
	page := Open(t, size)
	require.NoError(t, chromedp.Do(page, chromedp.Navigate(server.URL)))
	shows(t, page, `document.querySelectorAll("#usual .tile").length == 36 && !document.querySelector("#lost")`)
	return page
}

// shows waits until a condition holds on the page.
func shows(t *testing.T, page context.Context, condition string) {
	t.Helper()
	_, err := chromedp.Run(page, chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(patience)))
	require.NoError(t, err, condition)
}

// press presses the button of a fault.
func press(t *testing.T, page context.Context, what string, server int) {
	t.Helper()
	selector := fmt.Sprintf(`.controls button[data-what=%q]`, what)
	if server >= 0 {
		selector += fmt.Sprintf(`[data-server="%d"]`, server)
	}
	require.NoError(t, chromedp.Do(page, chromedp.Click(chromedp.CSS(selector))))
}

// shared is the number of no server.
const shared = -1

// number reads a number of the page.
func number(t *testing.T, page context.Context, selector string) int {
	t.Helper()
	text, err := chromedp.Run(page, chromedp.TextContent(chromedp.CSS(selector)))
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
	require.NoError(t, err)
	return n
}

// TestLive: each button breaks what it says. An old copy stays in the usual cache, also when all
// is healed, and nearbus gives no answer that is older than the bound.
func TestLive(t *testing.T) {
	t.Parallel()
	page := openLive(t, Desk)
	picture(t, page, "live-well")
	faults := []struct {
		what   string
		server int
		begun  string // what the page shows then
	}{
		{"cut", 1, `document.querySelectorAll("#usual .tile.old").length >= 6`},
		{"pause", 2, `document.querySelectorAll(".card.paused").length == 2`},
		{"bus", shared, `document.querySelector("#nearbus .about").textContent == "reads the journal"`},
		{"store", shared, `document.querySelector("#nearbus .about").textContent != "reads the journal"`},
	}
	for _, f := range faults {
		press(t, page, f.what, f.server)
		shows(t, page, fmt.Sprintf(`document.querySelector('[data-what=%q][aria-pressed="true"]')`, f.what))
		press(t, page, "write", shared)
		shows(t, page, f.begun)
		picture(t, page, "live-"+f.what)
	}
	press(t, page, "heal", shared)
	shows(t, page, `!document.querySelector('[aria-pressed="true"]')`)
	require.NoError(t, chromedp.Do(page, chromedp.Click(chromedp.CSS("#keep"))))
	shows(t, page, `[...document.querySelectorAll("#nearbus .about")].every(a => a.textContent == "hears every write")`)
	shows(t, page, `!document.querySelector("#nearbus .tile.behind, #nearbus .tile.old") && document.querySelector("#usual .tile.old")`)
	assert.Zero(t, number(t, page, "#nearbus .stale"))
	assert.Positive(t, number(t, page, "#nearbus .answers"))
	assert.Positive(t, number(t, page, "#usual .stale"))
	picture(t, page, "live-healed")

	// A record is written through the server on which it is pressed.
	before := number(t, page, "#database .tile span")
	require.NoError(t, chromedp.Do(page, chromedp.Click(chromedp.CSS("#nearbus .card .tile"))))
	shows(t, page, fmt.Sprintf(`[...document.querySelectorAll("#nearbus .records")].every(r => r.firstElementChild.firstElementChild.textContent == %d)`, before+1))
}

// TestLive_Phone: nothing is wider than the window of a phone.
func TestLive_Phone(t *testing.T) {
	t.Parallel()
	page := openLive(t, Phone)
	wide, err := chromedp.Run(page, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
	require.NoError(t, err)
	assert.LessOrEqual(t, int64(wide), Phone.Width)
	press(t, page, "cut", 0)
	shows(t, page, `document.querySelector("#usual .tile.old")`)
	picture(t, page, "live-phone")
}

// TestLive_Dark: the page follows the scheme of its user.
func TestLive_Dark(t *testing.T) {
	t.Parallel()
	page := openLive(t, Desk)
	background := chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`)
	light, err := chromedp.Run(page, background)
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(page, Scheme("dark")))
	dark, err := chromedp.Run(page, background)
	require.NoError(t, err)
	assert.NotEqual(t, light, dark)
	press(t, page, "bus", shared)
	shows(t, page, `document.querySelector("#usual .tile.old")`)
	picture(t, page, "live-dark")
}

// TestLive_Window: at the size of a small screen, all of the page that tells is seen at once.
func TestLive_Window(t *testing.T) {
	t.Parallel()
	page := openLive(t, Desk)
	bottom, err := chromedp.Run(page, chromedp.Evaluate[float64](`document.querySelector("main").getBoundingClientRect().bottom`))
	require.NoError(t, err)
	assert.LessOrEqual(t, bottom, float64(Desk.Height))
}
