package bounded_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

type valueKey struct{}

// TestContext_IsWhatWithTimeoutReturns compares it, asked in each order, with the
// context that it stands for.
func TestContext_IsWhatWithTimeoutReturns(t *testing.T) {
	errCause := errors.New("cause")
	for _, c := range []struct {
		name   string
		parent func(context.Context) (context.Context, context.CancelFunc)
		act    func(parent, own context.CancelFunc)
	}{
		{"nothing happens", context.WithCancel, func(_, _ context.CancelFunc) {}},
		{"it is cancelled", context.WithCancel, func(_, own context.CancelFunc) { own(); own() }},
		{"its parent is cancelled", context.WithCancel, func(parent, _ context.CancelFunc) { parent() }},
		{"its parent first", context.WithCancel, func(parent, own context.CancelFunc) { parent(); own() }},
		{"its time passes", context.WithCancel, func(_, _ context.CancelFunc) { time.Sleep(time.Minute) }},
		{"its time passes first", context.WithCancel, func(_, own context.CancelFunc) { time.Sleep(time.Minute + time.Second); own() }},
		{
			"its parent's deadline is earlier",
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Second)
			},
			func(_, _ context.CancelFunc) { time.Sleep(time.Second) },
		},
		{
			"its parent had ended",
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(ctx)
				cancel(errCause)
				return ctx, func() { cancel(nil) }
			},
			func(_, _ context.CancelFunc) {},
		},
	} {
		for _, asksFirst := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				parent, cancelParent := c.parent(context.WithValue(t.Context(), valueKey{}, 1))
				defer cancelParent()
				want, cancelWant := context.WithTimeout(parent, time.Minute)
				got := bounded.WithTimeout(parent, time.Minute)
				defer got.Cancel()
				if asksFirst {
					got.Done()
				}
				c.act(cancelParent, func() { cancelWant(); got.Cancel() })
				synctest.Wait()
				for range 2 {
					assert.Equal(t, want.Err(), got.Err(), c.name)
					assert.Equal(t, ended(want), ended(got), c.name)
				}
				assert.Equal(t, context.Cause(want), context.Cause(got), c.name)
				wantEnd, _ := want.Deadline()
				gotEnd, ok := got.Deadline()
				assert.True(t, ok)
				assert.Equal(t, wantEnd, gotEnd, c.name)
				assert.Equal(t, 1, got.Value(valueKey{}), c.name)
				cancelWant()
			})
		}
	}
}

func ended(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// TestContext_ChildrenEndWithIt: they do so without a goroutine, which the bubble
// would find.
func TestContext_ChildrenEndWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bounded.WithTimeout(t.Context(), time.Minute)
		child, cancel := context.WithCancel(c)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, context.DeadlineExceeded, child.Err())
		cancel()
		c.Cancel()

		c = bounded.WithTimeout(t.Context(), time.Minute)
		child, cancel = context.WithCancel(c)
		defer cancel()
		c.Cancel()
		assert.Equal(t, context.Canceled, child.Err())
	})
}

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		c := bounded.WithTimeout(parent, time.Minute)
		defer c.Cancel()
		assert.Equal(t, parent.Done(), bounded.Within(c, time.Second), "the deadline is far away")
		done := bounded.Within(c, time.Minute)
		assert.NotEqual(t, parent.Done(), done, "it is not")
		assert.Equal(t, c.Done(), done)
		assert.Equal(t, parent.Done(), bounded.Within(parent, time.Minute), "another context")
		cancel()
		<-done
		require.ErrorIs(t, c.Err(), context.Canceled)
	})
}
