package replication

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		snapshot string
		xid      uint32
		want     bool
	}{
		{"100:100:", 99, true},
		{"100:100:", 100, false},
		{"100:105:100,103", 100, false},
		{"100:105:100,103", 103, false},
		{"100:105:100,103", 102, true},
		{"100:105:100,103", 105, false},
		{"4294967290:4294967300:4294967295", 4294967290, true},
		{"4294967290:4294967300:4294967295", 4294967295, false},
		{"4294967290:4294967300:4294967297", 1, false}, // 4294967297 is 1 in 32 bits
		{"4294967290:4294967300:4294967297", 3, true},
		{"4294967290:4294967300:4294967297", 4, false},
		{"nonsense", 1, false},
	} {
		assert.Equal(t, test.want, visible(test.snapshot, test.xid), "%v", test)
	}
}
