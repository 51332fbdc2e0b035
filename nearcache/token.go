package nearcache

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
)

// ConsistencyToken stands for the writes that a node had acknowledged when it gave the
// token. Another node that is given it, in [ReadOptions.After], does not answer with
// anything older. It is small and comparable, and its text, letters, digits and
// hyphens, fits into a cookie, a header or a URL. The zero ConsistencyToken stands for
// nothing, and its text is empty: a cookie that was lost demands nothing, and
// nobody is told.
//
// A token says what must have been applied, not what may be read: nothing is
// secret in it, and one that was made up costs a read of the shared tier, and of its journals.
type ConsistencyToken struct{ of coherence.Token }

// ErrInvalidToken is returned by ConsistencyToken.UnmarshalText for a text that is none.
var ErrInvalidToken = errors.New("nearcache: invalid token")

const (
	tokenForm   = "1" // of the text
	tokenBase   = 36
	maxTokenLen = 96
)

// MarshalText implements [encoding.TextMarshaler]. It never fails.
func (t ConsistencyToken) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String returns the text of the token.
func (t ConsistencyToken) String() string {
	if t == (ConsistencyToken{}) {
		return ""
	}
	text := []byte(tokenForm)
	for _, n := range []uint64{uint64(t.of.Partition), t.of.Epoch, t.of.Number, t.of.Clock, t.of.Tags} {
		text = strconv.AppendUint(append(text, '-'), n, tokenBase)
	}
	return string(text)
}

// UnmarshalText implements [encoding.TextUnmarshaler]. The error wraps
// [ErrInvalidToken] for everything but what MarshalText returns. An empty text
// is the zero ConsistencyToken, which demands nothing.
func (t *ConsistencyToken) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = ConsistencyToken{}
		return nil
	}
	if len(text) > maxTokenLen {
		return fmt.Errorf("%w: %d bytes", ErrInvalidToken, len(text))
	}
	parts := strings.Split(string(text), "-")
	if len(parts) != 6 || parts[0] != tokenForm {
		return fmt.Errorf("%w: not of form %s", ErrInvalidToken, tokenForm)
	}
	var numbers [5]uint64
	for i, part := range parts[1:] {
		n, err := strconv.ParseUint(part, tokenBase, 64)
		if err != nil {
			return fmt.Errorf("%w: part %d is no number", ErrInvalidToken, i+1)
		}
		numbers[i] = n
	}
	read := ConsistencyToken{coherence.Token{Partition: uint32(numbers[0]), Epoch: numbers[1], Number: numbers[2], Clock: numbers[3], Tags: numbers[4]}}
	if read.String() != string(text) {
		return fmt.Errorf("%w: not as it is written", ErrInvalidToken)
	}
	*t = read
	return nil
}

// Token returns a token for what this node has written: it covers every write of
// key, and every Clear and InvalidateTags of the cache, that returned nil before
// the call, and may cover others. It costs nothing but a look at what is noted.
//
// Where the store keeps no journal (Memcached), and without a shared tier,
// revisions have no order: a token then makes the other node read the shared
// tier, or the source, each time.
func (c *Cache[V]) Token(key string) ConsistencyToken { return ConsistencyToken{c.keys.Token(key)} }
