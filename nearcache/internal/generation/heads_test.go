package generation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/shared/driver"
)

// TestHeads_FarAhead: numbers half a day ahead of the server's clock hold up reads until the
// journal was read, and for a time that nobody can lengthen.
func TestHeads_FarAhead(t *testing.T) {
	const far = 10 * clockAhead
	heads, known := make(Heads, 1), driver.Revision{Epoch: 1, Number: 10}
	h := &heads[0]
	tell := func(number uint64, at time.Duration) { h.Tell(driver.Revision{Epoch: 1, Number: number}, 0, int64(at)) }
	holdsUp := func(at time.Duration) bool { return *heads.Want(0, int64(at)) != known }
	h.Raise(known, 0)

	tell(far, time.Second)
	assert.True(t, holdsUp(time.Second))
	h.JournalRead(h.Hearsay())
	assert.False(t, holdsUp(time.Second))
	tell(far, time.Second)
	tell(far-1, time.Second)
	assert.False(t, holdsUp(time.Second), "no higher number")
	tell(far+1, 2*time.Second)
	assert.True(t, holdsUp(time.Second+patience-1))
	assert.False(t, holdsUp(time.Second+patience), "the journal was not read")
	tell(far+2, time.Second+patience)
	assert.False(t, holdsUp(time.Second+patience), "too late in its series")

	quiet := time.Second + patience + lull
	tell(far+3, quiet-1)
	assert.False(t, holdsUp(quiet-1))
	tell(far, quiet-1+lull)
	assert.True(t, holdsUp(quiet-1+lull), "a series of its own")
}

// TestHead_Deposed: a server of an earlier epoch is deposed for a while, and then forgotten.
func TestHead_Deposed(t *testing.T) {
	var h Head
	assert.False(t, h.Raise(driver.Revision{Epoch: 1, Number: 10}, 0))
	assert.True(t, h.Raise(driver.Revision{Epoch: 2, Number: 5}, 1))
	assert.True(t, h.Doubtful(10))
	assert.False(t, h.Doubtful(11))
	forgot := false
	assert.True(t, h.Deposed(1, 2, func() { forgot = true }))
	assert.False(t, forgot)
	assert.False(t, h.Deposed(1, 2+int64(deposition), func() { forgot = true }))
	assert.True(t, forgot)
	assert.Equal(t, uint64(1), h.Epoch())
}
