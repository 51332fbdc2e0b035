// Package page puts what a command measured into a page of the documentation.
package page

import (
	"bytes"
	"fmt"
	"os"
)

// Put writes text into the file path, in place of what stands between two marks.
func Put(path, beginMark, endMark string, text []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := bytes.Index(old, []byte(beginMark)), bytes.Index(old, []byte(endMark))
	if begin < 0 || end < begin {
		return fmt.Errorf("%s has no marks %q and %q", path, beginMark, endMark)
	}
	var out bytes.Buffer
	out.Write(old[:begin+len(beginMark)])
	fmt.Fprintf(&out, "\n")
	out.Write(text)
	out.Write(old[end:])
	return os.WriteFile(path, out.Bytes(), 0o644) //nolint:gosec // documentation is for everybody
}
