package nearcache

import (
	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
)

// NewBrokenNode is NewNode without the mechanisms that are switched off.
func NewBrokenNode(tier *shared.Tier, b *bus.Bus, opts NodeOptions, off fault.Set) (*Node, error) {
	return newNode(tier, b, opts, off)
}

// Jump does what is done when the machine slept.
func Jump(n *Node) { n.near.Jump() }
