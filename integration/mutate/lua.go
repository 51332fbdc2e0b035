package main

import (
	"bytes"
	"regexp"
	"strconv"
)

// luaRule is one way to change a script.
type luaRule struct {
	kind  kind
	match *regexp.Regexp // the first group is what is replaced
	with  func(found string) string
}

func fixed(to string) func(string) string { return func(string) string { return to } }

func pair(a, b string) func(string) string {
	return func(found string) string {
		if found == a {
			return b
		}
		return a
	}
}

var luaRules = []luaRule{
	{comparison, regexp.MustCompile(` (==|~=) `), pair("==", "~=")},
	{comparison, regexp.MustCompile(` (<=?) `), pair("<", "<=")},
	{comparison, regexp.MustCompile(` (>=?) `), pair(">", ">=")},
	{logic, regexp.MustCompile(` (and|or)\b`), pair("and", "or")},
	{negation, regexp.MustCompile(`(?m)\bif (.+) then$`), func(found string) string { return "not (" + found + ")" }},
	{extreme, regexp.MustCompile(`math\.(min|max)\b`), pair("min", "max")},
	{truth, regexp.MustCompile(`\b(true|false)\b`), pair("true", "false")},
	{constant, regexp.MustCompile(`[ (,\[](\d+)\b`), func(found string) string {
		n, _ := strconv.ParseInt(found, 10, 64)
		return strconv.FormatInt(n+1, 10)
	}},
	// Statements of one line: a call for what it does, an assignment of what is there.
	{statement, regexp.MustCompile(`(?m)^ *((?:redis\.)?call\(.*\)|\w+(?:, \w+)* = .*[^{(,])$`), fixed("")},
}

// luaEdits returns the changes of a script. None leaves it without sense, so all of them
// count as compiled.
func luaEdits(script []byte) (edits []edit) {
	code := luaCode(script)
	for _, r := range luaRules {
		for _, at := range r.match.FindAllSubmatchIndex(code, -1) {
			start, end := at[2], at[3]
			if r.kind == statement && bytes.Count(code[start:end], []byte("(")) != bytes.Count(code[start:end], []byte(")")) {
				continue // it goes on in the next line
			}
			edits = append(edits, edit{"script", r.kind, start, end, r.with(string(script[start:end])), nil})
		}
	}
	return edits
}

var luaQuiet = regexp.MustCompile(`'(?:\\.|[^'\\\n])*'|--[^\n]*`)

// luaCode returns a script with strings and comments blanked, byte for byte.
func luaCode(script []byte) []byte {
	return luaQuiet.ReplaceAllFunc(script, func(b []byte) []byte {
		if b[0] == '\'' {
			return append(append([]byte{'\''}, bytes.Repeat([]byte("_"), len(b)-2)...), '\'')
		}
		return bytes.Repeat([]byte(" "), len(b))
	})
}
