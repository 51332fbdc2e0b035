package tiny

import "testing"

func TestClamp(t *testing.T) {
	if Clamp(11) != limit {
		t.Error("above the limit")
	}
}
