package coherence

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/shared"
)

// TestLeases_OnTheirWay: a node that gives its leases back waits for those that it has
// asked for.
func TestLeases_OnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l leases
		first, second := shared.Claim{Key: "a", Token: 1}, shared.Claim{Key: "b", Token: 2}
		l.ask()
		l.answered(context.Background(), []shared.Claim{first})
		l.ask()
		got := make(chan []shared.Claim, 1)
		go func() { got <- l.all(t.Context()) }()
		synctest.Wait()
		assert.Empty(t, got)
		l.answered(context.Background(), []shared.Claim{second})
		synctest.Wait()
		assert.ElementsMatch(t, []shared.Claim{first, second}, <-got)
	})
}
