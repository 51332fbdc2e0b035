package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
)

// whileAnotherFails runs test with a node of a fleet that keeps an old value of k. Another
// node has the lease beside the record, and its load fails 150 ms later.
func whileAnotherFails(t *testing.T, test func(t *testing.T, f *fleet, m *member)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		m, other := f.join(keeping), f.join(keeping)
		require.NoError(t, other.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		failed := make(chan struct{})
		go func() {
			defer close(failed)
			_, _ = other.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
				time.Sleep(200 * time.Millisecond)
				return "", errDown
			})
		}()
		time.Sleep(50 * time.Millisecond)
		test(t, f, m)
		<-failed
	})
}

// TestG7_BoundedWhileAnotherFails: no old value is within the bounds of a reader. After the
// failure of another node, the reader's own loader decides.
func TestG7_BoundedWhileAnotherFails(t *testing.T) {
	for name, r := range map[string]read{"FromShared": {FromShared: true}, "MaxAge": {MaxAge: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			whileAnotherFails(t, func(t *testing.T, _ *fleet, m *member) {
				a, err := lookup(t, m, r, is("new"))
				require.NoError(t, err)
				assert.Equal(t, "new", a.Value)
				assert.False(t, a.Stale)
			})
			whileAnotherFails(t, func(t *testing.T, _ *fleet, m *member) {
				_, err := lookup(t, m, r, failing)
				require.ErrorIs(t, err, errDown)
			})
		})
	}
}

// TestG7_NothingOldWhileAnotherFails: while a caller waits for another node, a third node
// tells of a delete that did not happen. The caller can be given no old value any more, and
// its own loader decides.
func TestG7_NothingOldWhileAnotherFails(t *testing.T) {
	whileAnotherFails(t, func(t *testing.T, f *fleet, m *member) {
		third := f.join(keeping)
		time.AfterFunc(50*time.Millisecond, func() {
			assert.NoError(t, third.bus.Publish(t.Context(), bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "k"}))
		})
		fetches(t, m, "new", is("new"))
	})
}
