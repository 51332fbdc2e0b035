package generation

import (
	"slices"

	"github.com/nearbus/nearbus/nearcache/internal/sparse"
)

// Slots is the number of slots that tags are folded into.
const Slots = sparse.Slots

// SlotOf returns the slot of a tag: FNV-1a of 32 bits, its two halves combined
// by exclusive or. All nodes of all versions must agree on it.
func SlotOf(tag string) uint32 {
	h := uint32(2166136261)
	for i := range len(tag) {
		h = (h ^ uint32(tag[i])) * 16777619
	}
	return h>>16 ^ h&0xffff
}

// SlotsOf returns the slots of tags, sorted, each once; nil if there are none.
func SlotsOf(tags []string) []uint32 {
	if len(tags) == 0 {
		return nil
	}
	slots := make([]uint32, len(tags))
	for i, tag := range tags {
		slots[i] = SlotOf(tag)
	}
	slices.Sort(slots)
	return slices.Compact(slots)
}
