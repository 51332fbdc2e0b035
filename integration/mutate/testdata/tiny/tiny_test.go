package tiny

import (
	"os"
	"testing"
)

// TestOnce fails once.
func TestOnce(t *testing.T) {
	name := os.TempDir() + "/once"
	if _, err := os.Stat(name); err == nil {
		return
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Error("by chance")
}

func TestClamp(t *testing.T) {
	if Clamp(11) != limit {
		t.Error("above the limit")
	}
}
