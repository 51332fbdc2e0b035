package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// word returns text as it can be shown: what came over the bus may have anything in it.
func word(text string) string {
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
		return r == '"' || r == ' ' || !unicode.IsPrint(r)
	}) {
		return strconv.Quote(text)
	}
	return text
}

// json prints v as a line.
func (c *console) json(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", line)
	return err
}

// few returns the first of many words, as they can be shown.
func few(all []string) string {
	const most = 8
	if len(all) <= most {
		return strings.Join(shownAll(all), ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(shownAll(all[:most]), ", "), len(all)-most)
}

func shownAll(all []string) []string {
	shown := make([]string, len(all))
	for i, text := range all {
		shown[i] = word(text)
	}
	return shown
}

// plural returns "1 server" and "2 servers".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// number returns the beginning of a large number, "-" for none.
func number(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%08x", n>>32)
}

// hex returns a number as JSON has it, empty for none: it is too large for numbers of JSON.
func hex(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", n)
}

// rounded returns d as people read it.
func rounded(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
