package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// closings are the node of a member that is closed, and its cache alone.
var closings = map[string]func(*member) error{
	"node":  func(m *member) error { return m.node.Close(atOnce) },
	"cache": func(m *member) error { return m.Close(atOnce) },
}

// TestClose_GivesLeasesBack: a node or a cache that is closed while it loads leaves nobody
// waiting, whether its loaders heed the end of their context or not.
func TestClose_GivesLeasesBack(t *testing.T) {
	for name, closes := range closings {
		t.Run(name, func(t *testing.T) { givesLeasesBack(t, closes) })
	}
}

func givesLeasesBack(t *testing.T, closes func(*member) error) {
	stubborn := func(context.Context, string) (string, error) {
		time.Sleep(time.Minute)
		return "late", nil
	}
	heeding := func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	opts := nearcache.Options[string]{TTL: time.Minute, Stale: nearcache.Stale{For: time.Hour}, RefreshAhead: 10 * time.Second}
	for name, c := range map[string]struct {
		opts nearcache.Options[string]
		wait time.Duration // before the load begins
		load func(ctx context.Context, a *member) error
	}{
		"a load that heeds its context": {load: func(ctx context.Context, a *member) error {
			_, err := a.Fetch(ctx, "k", heeding)
			return err
		}},
		"a load that does not": {load: func(ctx context.Context, a *member) error {
			_, err := a.Fetch(ctx, "k", stubborn)
			return err
		}},
		"a batch": {load: func(ctx context.Context, a *member) error {
			_, err := a.FetchMany(ctx, []string{"k", "k2"}, func(ctx context.Context, _ []string) (map[string]string, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			return err
		}},
		"a refresh": {opts: opts, wait: 55 * time.Second, load: func(ctx context.Context, a *member) error {
			_, err := a.Fetch(ctx, "k", stubborn)
			return err
		}},
		"a load beside an old value": {opts: opts, wait: 2 * time.Minute, load: func(ctx context.Context, a *member) error {
			_, err := a.Fetch(ctx, "k", stubborn)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(c.opts), f.join(c.opts)
				if c.wait > 0 {
					require.NoError(t, a.Set(t.Context(), "k", "old"))
					time.Sleep(c.wait)
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = c.load(context.Background(), a)
				}()
				time.Sleep(100 * time.Millisecond)
				require.NoError(t, closes(a))
				began := time.Now()
				if name != "a refresh" {
					v, err := b.Fetch(t.Context(), "k", is("new"))
					require.NoError(t, err)
					assert.Equal(t, "new", v)
				} else {
					f.eventually(func() bool { // the old one is served meanwhile
						v, err := b.Fetch(t.Context(), "k", is("new"))
						require.NoError(t, err)
						time.Sleep(20 * time.Millisecond)
						return v == "new"
					})
				}
				assert.Less(t, time.Since(began), 1500*time.Millisecond, "the others waited")
				<-ended
				time.Sleep(time.Minute) // until loaders that do not heed their context are done
			})
		})
	}
}

// TestClose_LeaseOnItsWay: a lease that is granted after its node or cache was closed is given
// back.
func TestClose_LeaseOnItsWay(t *testing.T) {
	for name, closes := range closings {
		t.Run(name, func(t *testing.T) { leaseOnItsWay(t, closes) })
	}
}

func leaseOnItsWay(t *testing.T, closes func(*member) error) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		asked, answer := make(chan struct{}), make(chan struct{})
		f.store.onAfter(func(_ context.Context, op, _ string) error {
			if op == "acquire" {
				close(asked)
				<-answer
			}
			return nil
		})
		go func() { _, _ = a.Fetch(context.Background(), "k", is("a's")) }()
		<-asked
		f.store.onAfter(nil)
		time.AfterFunc(10*time.Millisecond, func() { close(answer) })
		require.NoError(t, closes(a))
		began := time.Now()
		v, err := b.Fetch(t.Context(), "k", is("b's"))
		require.NoError(t, err)
		assert.Equal(t, "b's", v)
		assert.Less(t, time.Since(began), 100*time.Millisecond, "the other waited")
	})
}

// TestClose_SharedTierHangs: Close does not wait for a server that does not answer.
func TestClose_SharedTierHangs(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		go func() {
			_, _ = a.Fetch(context.Background(), "k", func(ctx context.Context, _ string) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
		}()
		time.Sleep(time.Second)
		f.store.onBefore(func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		require.NoError(t, a.Close(atOnce))
		assert.LessOrEqual(t, time.Since(began), 600*time.Millisecond)
		began = time.Now()
		require.NoError(t, a.node.Close(atOnce))
		assert.LessOrEqual(t, time.Since(began), 600*time.Millisecond)
		f.store.onBefore(nil)
	})
}
