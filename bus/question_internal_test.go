package bus

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestQuestion_LeftOut: what of a question does not fit is left out: whom it is for, then
// positions from the end, then who is known to listen. What is left is asked.
func TestQuestion_LeftOut(t *testing.T) {
	const number, each = 7, 16
	whole := func(asked, known, roll int) *barrier {
		q := &barrier{number: number, asked: make([]uint64, asked)}
		for p := range known {
			q.extension.positions.Known = append(q.extension.positions.Known, Position{Partition: p, Epoch: 1, Revision: 2})
		}
		if roll > 0 {
			all := make([]uint32, roll)
			q.extension.roll = &all
		}
		q.extension.positions.Partitions = known
		return q
	}
	size := func(asked, known, roll int) int {
		return len(encodeBarrier("n", 1, 1, number, make([]uint64, asked), &whole(asked, known, roll).extension))
	}
	for name, c := range map[string]struct {
		limit              int
		asked, known, roll int // of what fits
	}{
		"all fits, to the byte":      {size(each, each, each), each, each, each},
		"to everybody":               {size(each, each, each) - 1, 0, each, each},
		"with half of the positions": {size(0, each, each) - 1, 0, each / 2, each},
		"with one position":          {size(0, 1, each), 0, 1, each},
		"without positions":          {size(0, 0, each), 0, 0, each},
		"and without who listens":    {size(0, 0, each) - 1, 0, 0, 0},
		"what has no room at all":    {1, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := &Bus{transport: narrow{most: c.limit}, incarnation: 1, opts: Options{Node: "n"}}
			var f frame
			payload, named := b.encodeQuestion(1, whole(each, each, each))
			require.NoError(t, f.decode(payload))
			assert.Len(t, named, c.asked)
			roll := 0
			if f.extension.roll != nil {
				roll = len(*f.extension.roll)
			}
			assert.Equal(t, []int{c.asked, c.known, c.roll}, []int{len(f.asked), len(f.extension.positions.Known), roll})
			assert.EqualValues(t, number, f.call)
		})
	}
}

// narrow is a transport that takes payloads up to a size.
type narrow struct {
	Transport
	most int
}

func (n narrow) MaxPayload() int { return n.most }

// TestQuestion_OnceForEachAsking: a question is due once each time it is asked.
func TestQuestion_OnceForEachAsking(t *testing.T) {
	var bs barriers
	bs.init()
	w := bs.begin()
	for range 2 {
		bs.ask(w, nil, extension{})
		questions, _ := bs.due()
		assert.Len(t, questions, 1)
		questions, _ = bs.due()
		assert.Empty(t, questions)
	}
}

func TestCall_Same(t *testing.T) {
	c := BarrierRequest{incarnation: 1, number: 2}
	assert.True(t, c.Same(BarrierRequest{incarnation: 1, number: 2, positions: Positions{Partitions: 3}}))
	assert.False(t, c.Same(BarrierRequest{incarnation: 1, number: 3}))
	assert.False(t, c.Same(BarrierRequest{incarnation: 2, number: 2}))
}

// TestQuestion_ManyPositions: a question has no more positions than others read of one.
func TestQuestion_ManyPositions(t *testing.T) {
	many := Positions{Partitions: 2 * maxPositions, Known: make([]Position, 2*maxPositions)}
	e := (&Bus{}).question(&subscription{}, nil, func() Positions { return many })
	assert.Len(t, e.positions.Known, maxPositions)
	many.Known = many.Known[:3]
	e = (&Bus{}).question(&subscription{}, nil, func() Positions { return many })
	assert.Len(t, e.positions.Known, 3)
}
