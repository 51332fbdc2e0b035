package generation

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestSlotOf_Golden: nodes that disagree on it do not end each other's values.
func TestSlotOf_Golden(t *testing.T) {
	for tag, want := range map[string]uint32{"": 0x811c ^ 0x9dc5, "a": 0xe40c ^ 0x292c, "foobar": 0xbf9c ^ 0xf968} {
		assert.Equal(t, want, SlotOf(tag), tag)
	}
	assert.Equal(t, []uint32{SlotOf("foobar"), SlotOf("a")}, SlotsOf([]string{"a", "foobar", "a"}))
	assert.Nil(t, SlotsOf(nil))
}

// TestSlotOf_ManyTags: the watermarks of a cache are no more than slots, however many tags
// there have been.
func TestSlotOf_ManyTags(t *testing.T) {
	slots := make(map[uint32]bool)
	for i := range 200_000 {
		slots[SlotOf(fmt.Sprintf("user:%d", i))] = true
	}
	assert.Len(t, slots, 62_399)
}

// TestTags_Collateral counts what an invalidation takes along: the values of
// other tags in the same slot.
func TestTags_Collateral(t *testing.T) {
	for _, form := range []string{"org:%d", "user/%d/posts", "%08x"} {
		for _, tags := range []int{100, 1000, 10_000, 100_000} {
			slots := map[uint32]int{}
			for i := range tags {
				slots[SlotOf(fmt.Sprintf(form, i))]++
			}
			others := 0
			for _, n := range slots {
				others += n * (n - 1)
			}
			mean := float64(others) / float64(tags)
			chance := float64(tags-1) / 65536
			t.Logf("%d tags %s: an invalidation ends %.3f others, by chance %.3f", tags, form, mean, chance)
			assert.LessOrEqual(t, mean, 1.5*chance+0.05)
		}
	}
}
