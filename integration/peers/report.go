package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/nearbus/nearbus/integration/page"
)

// The report goes between these marks.
const (
	beginMark = "<!-- peers: begin -->\n"
	endMark   = "<!-- peers: end -->"
)

// circumstances writes on what machine, with what, how and beside what else it
// was measured. samples are what figures are medians of.
func (r *report) circumstances(samples string) {
	fmt.Fprintf(&r.head, "%s, %s/%s, GOMAXPROCS %d, %s; %s. ",
		r.began.UTC().Format("2006-01-02 15:04 MST"), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), processor(), runtime.Version())
	fmt.Fprintf(&r.head, "%s. Servers run on the same machine and are reached by loopback. ", strings.Join(versions(), ", "))
	fmt.Fprintf(&r.head, "Figures are medians of %s, with the least and the largest. ", samples)
	fmt.Fprintf(&r.head, "Load of the machine before: %s; after: %s.\n\n", r.loadBefore, load())
}

// load returns the load averages, or why they are not known.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(data))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], ", ")
}

func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo") // empty where there is none
	if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return "unknown processor"
}

// versions returns the versions of who takes part.
func versions() (all []string) {
	if out, err := exec.Command("redis-server", "--version").Output(); err == nil {
		if m := regexp.MustCompile(`v=(\S+)`).FindSubmatch(out); m != nil {
			all = append(all, "redis-server "+string(m[1]))
		}
	}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return all
	}
	for _, m := range info.Deps {
		for _, part := range []string{"ristretto", "otter", "xsync", "go-redis", "rueidis", "nats.go", "nats-server"} {
			if strings.Contains(m.Path, part) {
				all = append(all, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
				break
			}
		}
	}
	return all
}

// put writes the report into a file, between its marks, and a plot beside it.
func (r *report) put(path string) error {
	if err := page.Put(path, beginMark, endMark, r.text()); err != nil {
		return err
	}
	if len(r.bars) == 0 {
		return nil
	}
	svg := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	return os.WriteFile(svg, plot(r.bars), 0o644) //nolint:gosec // documentation is for everybody
}
