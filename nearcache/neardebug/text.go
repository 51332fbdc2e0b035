package neardebug

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nearbus/nearbus/nearcache"
)

// functions are those of the templates.
var functions = template.FuncMap{
	"count": count, "size": size, "percent": percent, "ago": ago, "key": keyText, "sorted": sorted, "lines": lines, "first": first,
	"dict":   dict,
	"number": func(numbers map[string]float64, name string) string { return number(numbers[name]) },
}

// count returns a whole number with marks for thousands.
func count(n any) string {
	text := fmt.Sprint(n)
	digits := strings.TrimPrefix(text, "-")
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return text[:len(text)-len(strings.ReplaceAll(digits, ",", ""))] + digits
}

// number returns a number of a metric.
func number(f float64) string {
	if f == float64(int64(f)) {
		return count(int64(f))
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}

func size(bytes int64) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%d B", bytes)
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// ago returns how long before another time a time was.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return now.Sub(at).Round(10*time.Millisecond).String() + " ago"
}

// keyText returns a key as people read it: in quotes if it has something that cannot be seen.
func keyText(key string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(key) || strings.ContainsFunc(key, odd) || strings.TrimSpace(key) != key {
		return strconv.Quote(key)
	}
	return key
}

// numbered is a name and its number.
type numbered struct{ Name, Number string }

// sorted returns numbers by name.
func sorted(numbers map[string]float64) []numbered {
	all := make([]numbered, 0, len(numbers))
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		all = append(all, numbered{name, number(numbers[name])})
	}
	return all
}

// line is one of the text of an Inspection: what it is about, and what it says.
type line struct{ What, Text string }

// lines returns those of the text of an Inspection but the first, which the page has as its
// head.
func lines(i nearcache.Inspection) (all []line) {
	_, rest, _ := strings.Cut(i.String(), "\n  ")
	for text := range strings.SplitSeq(rest, "\n  ") {
		what, says, _ := strings.Cut(text, " ")
		all = append(all, line{what, strings.TrimSpace(says)})
	}
	return all
}

// most is how many rows of a list the page has.
const most = 200

// first returns as much of a list as the page has.
func first(peers []peerState) []peerState { return peers[:min(len(peers), most)] }

// dict returns names and values in turn as a map, for a template that needs several.
func dict(pairs ...any) map[string]any {
	all := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		all[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return all
}
