package shardstore

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/shared/driver"
)

// TestDiscardable: a shard has expiries by its own clock, so they are no part of what a
// lease discards, however much of a header that names.
func TestDiscardable(t *testing.T) {
	record := driver.Record{Kind: driver.KindValue, Nonce: 1, Value: []byte("v")}
	image := record.Append(nil)
	names := driver.StampOffset + 16
	for _, size := range []int{driver.HeaderSize, driver.NonceOffset, names, names - 1, 1} {
		assert.Equal(t, image[:min(size, names)], discardable(image[:size]), "%d bytes", size)
	}
	assert.Equal(t, []byte("foreign"), discardable([]byte("foreign")))
}
