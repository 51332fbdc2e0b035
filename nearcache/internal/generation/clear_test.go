package generation

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

// TestClear_Random: a value that comes near was never cleared as far as the node knows, and
// who raises the number is told whether something may be near.
func TestClear_Random(t *testing.T) {
	c, dice := new(Clear), rand.New(rand.NewPCG(1, 2))
	truth, near := uint64(0), map[uint64]bool{} // what is near, by the number that its writer knew
	for range 50_000 {
		value, _, forgot := c.Get()
		ends := false
		switch dice.IntN(6) {
		case 0:
			truth++
			ends = c.Learn(truth, int64(truth), forgot)
		case 1:
			ends = c.Raise(truth)
		case 2, 3:
			knew := truth - min(truth, uint64(dice.IntN(2)))
			if c.Admits(knew) {
				near[knew] = true
			}
		case 4:
			c.Forget()
		case 5:
			c.Cleared(truth)
			ends = true
		}
		if ends {
			clear(near)
			v, _, _ := c.Get()
			c.Settle(v)
		}
		after, _, _ := c.Get()
		require.GreaterOrEqual(t, after, value)
		for knew := range near {
			require.GreaterOrEqual(t, knew, after, "a value is near that was cleared")
		}
		require.LessOrEqual(t, c.Applied(), after)
		require.LessOrEqual(t, len(c.heard), MaxHeard)
	}
}

// TestClear_JournalBehindTheClock: a journal that tells of a lower number tells that there
// was a Clear, where the server's clock was set back by days.
func TestClear_JournalBehindTheClock(t *testing.T) {
	c := new(Clear)
	c.Learn(clockAhead+1000, 1, 0)
	c.Admits(clockAhead + 1000)
	assert.False(t, c.Raise(2000), "numbers may come late")
	assert.True(t, c.Raise(500))
	_, known, _ := c.Get()
	assert.False(t, known)
}

// TestAcked_Forget: what was acknowledged in a later epoch than one that came back is gone.
func TestAcked_Forget(t *testing.T) {
	a := NewAcked(2)
	a.Raise(1, driver.Revision{Epoch: 2, Number: 3})
	a.Raise(1, driver.Revision{Epoch: 1, Number: 9})
	assert.Equal(t, driver.Revision{Epoch: 2, Number: 3}, a.Get(1))
	a.Forget(1, 1)
	assert.Zero(t, a.Get(1))
	assert.Zero(t, a.Get(0))
	var none *Acked
	assert.Zero(t, none.Get(0))
}
