package simulate

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"tiny"
)

var (
	_ = flag.Uint64("seed", 0, "")
	_ = flag.Duration("for", time.Second, "")
	_ = flag.Bool("first", false, "")
	_ = flag.Bool("shapes", false, "")
)

// TestSimulate stands in for the simulator.
func TestSimulate(t *testing.T) {
	if tiny.Clamp(-1) != 0 {
		t.Error("seed 1 breaks G1: less than nothing")
	}
	tiny.Wait(3)
	fmt.Println("7 runs, 1s of fleets")
}
