package pending

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
)

// newQueue returns a queue whose invariants are checked when the test ends.
func newQueue(t *testing.T) *Queue {
	q := &Queue{SlotOf: func(tag string) uint32 { return uint32(len(tag)) }}
	t.Cleanup(func() { checkInvariants(t, q) })
	return q
}

// checkInvariants holds what is derived from the entries against the entries.
func checkInvariants(t *testing.T, q *Queue) {
	t.Helper()
	slots := map[uint32]int{}
	for n, e := range q.entries {
		if n.tag && !e.shared {
			slots[q.SlotOf(n.text)]++
		}
		require.LessOrEqual(t, e.generation, q.generation)
	}
	if len(q.slots) > 0 || len(slots) > 0 {
		require.Equal(t, slots, q.slots)
	}
	require.LessOrEqual(t, len(q.entries), maxPending)
	require.LessOrEqual(t, q.all, q.generation)
	require.Equal(t, len(q.entries) > 0 || q.all > 0, q.Some())
}

func of(op bus.Op, name string) []bus.Invalidation { return []bus.Invalidation{{Op: op, Key: name}} }

// TestQueue_Random: whatever happens, the invariants hold, and everything can be delivered.
func TestQueue_Random(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, dice := newQueue(t), rand.New(rand.NewPCG(1, 2))
		for range 20_000 {
			at, key := q.Checkpoint(), strconv.Itoa(dice.IntN(50))
			if dice.IntN(3) == 0 {
				time.Sleep(time.Second)
			}
			switch dice.IntN(8) {
			case 0, 1:
				q.Add(of(bus.OpSet, key), false, time.Now().Add(time.Duration(dice.IntN(3))*time.Second))
			case 2:
				q.Add(of(bus.OpTag, key), dice.IntN(2) == 0, time.Time{})
			case 3:
				q.Add(of(bus.OpDelete, key), dice.IntN(2) == 0, time.Time{})
			case 4:
				if dice.IntN(20) == 0 {
					q.Add(of(bus.OpClear, ""), dice.IntN(2) == 0, time.Time{})
				}
			case 5:
				q.Resolve(at, dice.IntN(2) == 0, key)
			case 6:
				if b, ok := q.Next(at); ok {
					q.Stored(at, b)
				}
			case 7:
				if dice.IntN(20) == 0 {
					q.ResolveAll(at, dice.IntN(2) == 0)
				}
			}
			checkInvariants(t, q)
		}
		time.Sleep(time.Minute)
		for q.Some() {
			at := q.Checkpoint()
			b, ok := q.Next(at)
			require.True(t, ok)
			if b.All {
				q.Stored(at, b)
				q.ResolveAll(at, true)
				continue
			}
			q.Resolve(at, b.Tags, b.Names...)
		}
	})
}

// TestQueue_OpenWrite: a value whose write failed, and which may still arrive, is not
// resolved by a write that began before that.
func TestQueue_OpenWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		q.Add(of(bus.OpSet, "k"), false, time.Now().Add(time.Second))
		_, ok := q.Next(q.Checkpoint())
		assert.False(t, ok, "it may arrive yet")
		q.Resolve(q.Checkpoint(), false, "k")
		assert.True(t, q.HasKey("k"))
		time.Sleep(time.Second)
		q.Resolve(q.Checkpoint(), false, "k")
		assert.False(t, q.HasKey("k"))
	})
}

// TestQueue_LaterFailure: a write does not resolve what failed after it began.
func TestQueue_LaterFailure(t *testing.T) {
	q := newQueue(t)
	before := q.Checkpoint()
	q.Add(of(bus.OpTag, "tag"), false, time.Time{})
	q.Resolve(before, true, "tag")
	assert.True(t, q.HasSlots([]uint32{3}))
	q.ResolveAll(before, false)
	assert.Equal(t, 1, q.Len())
	q.Resolve(q.Checkpoint(), true, "tag")
	assert.False(t, q.Some())
}

// TestQueue_TooMany: more than the queue holds become a Clear.
func TestQueue_TooMany(t *testing.T) {
	q := newQueue(t)
	for i := range maxPending + 1 {
		q.Add(of(bus.OpDelete, strconv.Itoa(i)), false, time.Time{})
	}
	assert.Equal(t, maxPending+1, q.Len())
	b, ok := q.Next(q.Checkpoint())
	assert.True(t, ok && b.All)
	assert.True(t, q.HasKey("any"), "the Clear is of every key")
}
