package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// view shows a run while it lasts: a few lines that change on a terminal, a
// line each second elsewhere.
type view struct {
	out  io.Writer
	live bool
	load *load

	lines     int // drawn on the terminal
	lastReads int64
	last      time.Time
	rate      float64 // reads a second, lately
}

func newView(out io.Writer, live bool, l *load) *view {
	return &view{out: out, live: live, load: l, last: time.Now()}
}

// show is called ten times a second.
func (v *view) show() {
	elapsed := time.Since(v.last)
	if elapsed < time.Second && !v.live {
		return
	}
	if elapsed >= time.Second {
		reads := v.load.reads.Load()
		v.rate = float64(reads-v.lastReads) / elapsed.Seconds()
		v.lastReads, v.last = reads, time.Now()
	}
	if v.live {
		v.redraw()
		return
	}
	p50, p99, _ := v.load.quantiles()
	fmt.Fprintf(v.out, "%4.0fs  %s reads/s  near %.2f %%  write to last node p50 %s p99 %s  stale %d\n",
		time.Since(v.load.began).Seconds(), count(int64(v.rate)), 100*v.load.nearHits(), short(p50), short(p99), v.load.stale.Load())
}

func (v *view) redraw() {
	p50, p99, longest := v.load.quantiles()
	done := min(1, time.Since(v.load.began).Seconds()/v.load.cfg.duration.Seconds())
	text := []string{
		fmt.Sprintf("  %s", bar(done)),
		fmt.Sprintf("  reads       %12s   %s/s", count(v.load.reads.Load()), count(int64(v.rate))),
		fmt.Sprintf("  writes      %12s   to the last node p50 %s  p99 %s  max %s", count(v.load.writes.Load()), short(p50), short(p99), short(longest)),
		fmt.Sprintf("  near hits   %10.2f %%", 100*v.load.nearHits()),
		fmt.Sprintf("  stale       %12d", v.load.stale.Load()),
	}
	if v.lines > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA", v.lines)
	}
	v.lines = len(text)
	fmt.Fprint(v.out, "\x1b[K"+strings.Join(text, "\n\x1b[K")+"\n")
}

func (v *view) end() {
	if v.live {
		v.redraw()
	}
	fmt.Fprintln(v.out)
}

const barWidth = 40

func bar(done float64) string {
	n := int(done * barWidth)
	return "[" + strings.Repeat("=", n) + strings.Repeat(" ", barWidth-n) + "]"
}

// count writes a number with a comma at every third digit.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
