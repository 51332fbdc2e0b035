package redisstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

// TestWriteStep_WhatIsStaged: long images with an end, unless the server was found not to
// allow that.
func TestWriteStep_WhatIsStaged(t *testing.T) {
	s, err := New(unconnected, Options{Prefix: "p"})
	require.NoError(t, err)
	image := func(size int) []byte {
		r := driver.Record{Kind: driver.KindValue, Nonce: 0x0123456789abcdef, Value: make([]byte, size-driver.HeaderSize)}
		return r.Append(nil)
	}
	long := driver.Write{Key: "k", Image: image(longImage), TTL: time.Minute}
	short, endless, keeping := long, long, long
	short.Image = image(longImage - 1)
	endless.TTL = 0
	keeping.KeepStale = true
	for _, fill := range []bool{false, true} {
		assert.Equal(t, "p:{0}!0123456789abcdef", s.writeStep(&long, fill).stage)
		for _, w := range []driver.Write{short, endless, keeping} {
			assert.Empty(t, s.writeStep(&w, fill).stage)
		}
	}
	st := s.writeStep(&long, false)
	assert.False(t, s.unstaged(&st, errors.New("other")))
	assert.True(t, s.unstaged(&st, fmt.Errorf("write: %w", errNotStaged)))
	assert.True(t, s.unstaged(&st, answerError("TRYAGAIN Multiple keys request during rehashing of slot")))
	assert.NotEmpty(t, s.writeStep(&long, false).stage)
	assert.True(t, s.unstaged(&st, fmt.Errorf("write: %w", errNoRename)))
	assert.Empty(t, s.writeStep(&long, false).stage)
	st.stage = ""
	assert.False(t, s.unstaged(&st, errNotStaged), "it was not staged")
}

// answerError is an error that is an answer of a server.
type answerError string

func (s answerError) Error() string { return string(s) }
func (answerError) RedisError()     {}
