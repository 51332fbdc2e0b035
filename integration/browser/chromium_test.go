package browser

import (
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOpen: a script runs, and the picture has the size of the window.
func TestOpen(t *testing.T) {
	t.Parallel()
	page := Open(t, Desk)
	picture := filepath.Join(t.TempDir(), "page.png")
	require.NoError(t, chromedp.Do(page,
		chromedp.Navigate(`data:text/html,<title>a</title><script>document.title += "b"</script>`), Screenshot(picture)))
	title, err := chromedp.Run(page, chromedp.Title())
	require.NoError(t, err)
	assert.Equal(t, "ab", title)
	file, err := os.Open(picture)
	require.NoError(t, err)
	defer file.Close()
	config, err := png.DecodeConfig(file)
	require.NoError(t, err)
	assert.Equal(t, Desk, Size{int64(config.Width), int64(config.Height)})
}
