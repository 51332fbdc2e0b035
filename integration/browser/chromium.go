package browser

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is the longest time that a test waits for what a page is to show.
const patience = 2 * time.Minute

// Size is that of the part of a window that shows a page, in points.
type Size struct{ Width, Height int64 }

// The sizes that pages are tested at.
var (
	Desk  = Size{1280, 800}
	Phone = Size{390, 844}
)

// Open starts a headless Chromium with one empty page of a size, and ends it with the test. The
// context is for [chromedp.Run] and [chromedp.Do], which fail two minutes later. The program is
// chromium of PATH, or that of the variable CHROME. What the console of the page complains
// about, such as a script that fails or a file that is not there, fails the test.
func Open(t testing.TB, size Size) context.Context {
	t.Helper()
	program, err := exec.LookPath(cmp.Or(os.Getenv("CHROME"), "chromium"))
	if err != nil {
		t.Fatalf("browser: chromium is not installed; run `make deps`, or set CHROME: %v", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program))
	// The context of the test ends before its cleanups, and would kill the browser too early.
	base, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	process, endBrowser := chromedp.NewExecAllocator(base, opts...)
	t.Cleanup(endBrowser)
	page, endPage := chromedp.NewContext(process)
	var watch sync.WaitGroup
	t.Cleanup(func() { endPage(); watch.Wait() })
	var viewport []chromedp.EmulateViewportOption
	if size == Phone {
		viewport = append(viewport, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	if err := chromedp.Do(page, chromedp.EmulateViewport(size.Width, size.Height, viewport...)); err != nil {
		t.Fatalf("browser: %s: %v", program, err)
	}
	messages := chromedp.Console(page)
	watch.Go(func() { // ends with the page
		for m, err := range messages {
			if err == nil && (m.IsException() || m.Type == chromedp.ConsoleError) {
				t.Errorf("the page complains: %s %s", m, m.URL)
			}
		}
	})
	return page
}

// Scheme makes the page believe that its user prefers "light" or "dark".
func Scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// Screenshot writes what the window shows into a file, as PNG.
func Screenshot(path string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		png, err := chromedp.CaptureScreenshot()(ctx, target)
		if err != nil {
			return err
		}
		return os.WriteFile(path, png, 0o644)
	})
}
