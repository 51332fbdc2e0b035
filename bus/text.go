package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var errText = errors.New("bus: malformed text message")

var textOps = map[string]Op{
	"invalidate":      OpInvalidate,
	"invalidate-tags": OpTag,
	"delete":          OpDelete,
	"clear":           OpClear,
}

// isText reports whether payload is in the plain-text form, well-formed or not.
func isText(payload []byte) bool {
	return len(payload) > 0 && (payload[0]|0x20) >= 'a' && (payload[0]|0x20) <= 'z'
}

// decodeText decodes a payload in the plain-text form into f, whose slice it
// uses again. The package comment describes the form.
func (f *frame) decodeText(payload []byte) error {
	f.reset()
	f.message.Text = true
	if len(payload) > maxPayload {
		return fmt.Errorf("%w: %d bytes, more than %d", errText, len(payload), maxPayload)
	}
	words, ok := splitText(string(payload))
	switch {
	case !ok:
		return fmt.Errorf("%w: a word is not quoted as it must be", errText)
	case len(words) == 0 || textOps[words[0]] == 0:
		return fmt.Errorf("%w: the first word is none of invalidate, invalidate-tags, delete, clear", errText)
	case len(words) < 2:
		return fmt.Errorf("%w: no cache is named", errText)
	}
	inv := Invalidation{Op: textOps[words[0]], Cache: words[1]}
	keys := words[2:]
	if len(keys) == 0 {
		keys = []string{""} // right for clear only, which check knows
	}
	for _, key := range keys {
		inv.Key = key
		if err := inv.check(); err != nil {
			f.reset()
			return fmt.Errorf("%w: %w", errText, err)
		}
		f.message.Invalidations = append(f.message.Invalidations, inv)
	}
	return nil
}

const textSpace = " \t"

// splitText splits a line at white space into words, bare or quoted as in Go.
func splitText(text string) (words []string, ok bool) {
	text = strings.TrimRight(text, "\r\n")
	for {
		text = strings.TrimLeft(text, textSpace)
		if text == "" {
			return words, true
		}
		word, rest, ok := cutWord(text)
		if !ok {
			return nil, false
		}
		words = append(words, word)
		text = rest
	}
}

func cutWord(text string) (word, rest string, ok bool) {
	if text[0] == '"' {
		return cutQuoted(text)
	}
	end := strings.IndexAny(text, textSpace)
	if end < 0 {
		end = len(text)
	}
	word = text[:end]
	ok = utf8.ValidString(word) && !strings.ContainsFunc(word, needsQuotes)
	return word, text[end:], ok
}

func cutQuoted(text string) (word, rest string, ok bool) {
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", false
	}
	rest = text[len(quoted):]
	if rest != "" && !strings.ContainsRune(textSpace, rune(rest[0])) {
		return "", "", false
	}
	word, err = strconv.Unquote(quoted)
	return word, rest, err == nil
}

func needsQuotes(r rune) bool {
	return r == '"' || !unicode.IsPrint(r)
}
