package simulate

import (
	"math/rand/v2"
	"slices"
	"time"
)

// after draws the time to the next of what happens at a rate, by the second.
func after(dice *rand.Rand, rate float64) time.Duration {
	return time.Duration(dice.ExpFloat64() / rate * float64(time.Second))
}

// openKeys are the keys that every process writes, and only invalidates: two that set
// the same key would have to agree on an order first. Of the others each has one writer.
func (p *Plan) openKeys() uint32 { return uint32(p.Keys) / 4 }

// ownKey draws a key of which node is the one writer; there is none in a fleet of more
// nodes than keys.
func (p *Plan) ownKey(dice *rand.Rand, node int) (key uint32, ok bool) {
	owned := uint32(p.Keys) - p.openKeys()
	each := owned / uint32(p.Nodes)
	if each == 0 {
		return 0, false
	}
	return p.openKeys() + uint32(node)*each + dice.Uint32N(each), true
}

func (p *Plan) openKey(dice *rand.Rand) uint32 { return dice.Uint32N(p.openKeys()) }

// readKey draws a key, some much more often than others.
func (p *Plan) readKey(dice *rand.Rand) uint32 {
	u := dice.Float64()
	hot := uint32(u * u * u * float64(p.Keys))
	return (hot*7 + 3) % uint32(p.Keys)
}

// weighted is what may be drawn, and how often beside the others.
type weighted struct {
	call   Call
	weight int
}

func drawCall(dice *rand.Rand, from []weighted) Call {
	total := 0
	for _, w := range from {
		total += w.weight
	}
	n := dice.IntN(total)
	for _, w := range from {
		if n -= w.weight; n < 0 {
			return w.call
		}
	}
	return from[0].call
}

var reading = []weighted{
	{Fetch, 60}, {Lookup, 8}, {LookupAge, 6}, {LookupNow, 3}, {LookupWith, 5}, {FetchMany, 6}, {GetMany, 4}, {Get, 6},
}

var writing = []weighted{
	{Set, 40}, {SetMany, 6}, {Invalidate, 25}, {Delete, 10}, {Tag, 8}, {Clear, 1}, {Barrier, 6},
}

func (p *Plan) drawRead(dice *rand.Rand, op *Op) {
	op.Call = drawCall(dice, reading)
	n := 1
	switch op.Call {
	case Fetch, FetchMany, GetMany:
		n = fetchRun
	case LookupWith:
		op.Peer = dice.IntN(p.Nodes)
	}
	for range n {
		if key := p.readKey(dice); !slices.Contains(op.Keys, key) {
			op.Keys = append(op.Keys, key)
		}
	}
}

func (p *Plan) drawWrite(dice *rand.Rand, op *Op) {
	op.Call = drawCall(dice, writing)
	own, ok := p.ownKey(dice, op.Node)
	switch op.Call {
	case Set, SetMany:
		if !ok {
			op.Call, op.Keys = Invalidate, []uint32{p.openKey(dice)}
			return
		}
		op.Keys = []uint32{own}
		if op.Call == SetMany {
			if more, _ := p.ownKey(dice, op.Node); more != own {
				op.Keys = append(op.Keys, more)
			}
		}
	case Invalidate, Delete:
		op.Keys = []uint32{p.openKey(dice)}
		if ok && dice.IntN(3) == 0 {
			op.Keys = []uint32{own}
		}
		if more := p.openKey(dice); dice.IntN(6) == 0 && more != op.Keys[0] {
			op.Keys = append(op.Keys, more)
		}
	case Tag:
		op.Keys = []uint32{p.openKey(dice) &^ 1}
	}
}
