package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

var (
	errFirst  = errors.New("shard 1 is down")
	errSecond = errors.New("shard 2 is down")
)

// someFail loads a and b, fails for x and y, and has nothing for others.
func someFail(_ context.Context, keys []string) (map[string]string, error) {
	values, failed := map[string]string{}, nearcache.KeysError{}
	for _, key := range keys {
		switch key {
		case "a", "b":
			values[key] = key + "'s"
		case "x":
			failed[key] = errFirst
		case "y":
			failed[key] = errSecond
		default:
			failed[key] = nearcache.ErrNotFound
		}
	}
	if len(failed) > 0 {
		return values, failed
	}
	return values, nil
}

// TestPartialLoad: what was loaded is stored, and each caller gets the error of its own key.
func TestPartialLoad(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		opts := nearcache.Options[string]{BatchLoader: nearcache.BatchValueLoader(someFail), NotFoundTTL: time.Minute}
		a, b := f.join(opts), f.join(opts)
		found, err := a.GetMany(t.Context(), []string{"a", "x", "b", "y", "none"})
		assert.Equal(t, map[string]string{"a": "a's", "b": "b's"}, found)
		var failed nearcache.KeysError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, nearcache.KeysError{"x": errFirst, "y": errSecond}, failed)
		stats := a.Stats().Loads
		assert.EqualValues(t, 5, stats.Keys)
		assert.EqualValues(t, 2, stats.Errors)

		for _, m := range []*member{a, b} {
			v, err := m.Read(t.Context(), "a", nearcache.ReadOptions{NoLoad: true}, nil)
			require.NoError(t, err, "it is stored")
			assert.Equal(t, "a's", v.Value)
			_, err = m.Read(t.Context(), "none", nearcache.ReadOptions{NoLoad: true}, nil)
			require.ErrorIs(t, err, nearcache.ErrNegative, "it is known to be absent")
			_, err = m.Read(t.Context(), "x", nearcache.ReadOptions{NoLoad: true}, nil)
			require.ErrorIs(t, err, nearcache.ErrNotStored, "nothing is known of it")
		}
		_, err = b.Get(t.Context(), "y")
		require.Equal(t, errSecond, err, "of a single key, too")
		began := time.Now()
		v, err := b.Fetch(t.Context(), "x", is("later"))
		require.NoError(t, err)
		assert.Equal(t, "later", v)
		assert.Less(t, time.Since(began), 100*time.Millisecond, "the lease was given back")
	})
}

// TestPartialLoad_Waiters: who joined the load of a key gets what became of that key.
func TestPartialLoad_Waiters(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m, go1 := f.join(), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			_, err := m.FetchMany(t.Context(), []string{"a", "x", "y"}, func(ctx context.Context, keys []string) (map[string]string, error) {
				<-go1
				return someFail(ctx, keys)
			})
			assert.ErrorIs(t, err, errFirst)
			assert.ErrorIs(t, err, errSecond)
		})
		synctest.Wait()
		for key, want := range map[string]error{"a": nil, "x": errFirst, "y": errSecond} {
			all.Go(func() {
				_, err := m.Fetch(t.Context(), key, none)
				assert.Equal(t, want, err, key)
			})
		}
		synctest.Wait()
		close(go1)
		all.Wait()
	})
}

// TestPartialLoad_OfOthers: an error of keys that were not asked for says nothing of those that
// were, and least of all that they have no value.
func TestPartialLoad_OfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{NotFoundTTL: time.Minute})
		for name, foreign := range map[string]error{
			"other keys":  nearcache.KeysError{"user": errFirst},
			"one of them": nearcache.KeysError{"x": errFirst},
			"wrapped":     fmt.Errorf("users: %w", nearcache.KeysError{"x": errFirst}),
			"joined":      errors.Join(nearcache.KeysError{"x": errFirst}, context.DeadlineExceeded),
			"no error":    nearcache.KeysError{"k": nil},
			"empty":       nearcache.KeysError{},
		} {
			_, err := m.FetchMany(t.Context(), []string{"k", "x"}, func(context.Context, []string) (map[string]string, error) {
				return nil, foreign
			})
			var failed nearcache.KeysError
			require.ErrorAs(t, err, &failed, name)
			require.Len(t, failed, 2, name)
			assert.Equal(t, foreign, failed["k"], name)
			v, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err, name)
			assert.Equal(t, "v", v, "it was not stored as absent")
			require.NoError(t, m.Delete(t.Context(), "k"))
		}
	})
}

// TestPartialLoad_FailSafe: the keys that failed get their old values.
func TestPartialLoad_FailSafe(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{TTL: time.Minute, Stale: nearcache.Stale{For: time.Hour}})
		require.NoError(t, m.SetMany(t.Context(), map[string]string{"a": "old a", "x": "old x"}))
		time.Sleep(61 * time.Second)
		found, err := m.FetchMany(t.Context(), []string{"a", "x"}, someFail)
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"a": "a's", "x": "old x"}, found)
		assert.EqualValues(t, 1, m.Stats().Reads.Stale)
	})
}
