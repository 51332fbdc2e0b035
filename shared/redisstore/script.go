package redisstore

import (
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed *.lua
var sources embed.FS

// include begins a line of a script that stands for another file.
const include = "-- include "

// source returns the text of a script, with other files in place of the lines that name them.
func source(file string) string {
	text, err := sources.ReadFile(file)
	if err != nil {
		panic(err) // it is not part of this package
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if name, ok := strings.CutPrefix(line, include); ok {
			lines[i] = source(strings.TrimSpace(name))
		}
	}
	return strings.Join(lines, "")
}

// script is one that is called by its name, or sent whole to a server that does not know it.
type script struct{ name, text string }

func newScript(text string) *script { return &script{name: redis.NewScript(text).Hash(), text: text} }

// calls are the scripts of one request and of several requests of a partition.
type calls struct{ one, many *script }

// begin appends what a call of a script begins with: its name, or the whole of it, and the
// number of its keys.
func (s *script) begin(args []any, whole bool, keys int) []any {
	if whole {
		return append(args, "eval", s.text, keys)
	}
	return append(args, "evalsha", s.name, keys)
}
