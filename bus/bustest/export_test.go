package bustest

import (
	"context"
	"fmt"
)

// CheckCase runs one case of the suite.
func CheckCase(ctx context.Context, h Harness, name string) error {
	for _, c := range casesFor(h) {
		if c.name == name {
			return c.check(ctx, h)
		}
	}
	return fmt.Errorf("no case is named %q", name)
}
