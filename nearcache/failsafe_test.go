package nearcache_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// keeping has values expire after a minute and keeps them for an hour.
var keeping = nearcache.Options[string]{TTL: time.Minute, Stale: nearcache.Stale{For: time.Hour}}

// failing is a loader that fails.
func failing(context.Context, string) (string, error) { return "", errDown }

func fetches(t *testing.T, m *member, want string, load func(context.Context, string) (string, error)) {
	t.Helper()
	v, err := m.Fetch(t.Context(), "k", load)
	require.NoError(t, err)
	require.Equal(t, want, v)
}

// TestFailSafe_LoaderFails: past its TTL, the old value is given where the
// loader fails, on a node that had it near and on one that had not; there is one
// attempt in Stale.RetryAfter.
func TestFailSafe_LoaderFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		for _, m := range []*member{a, b} {
			var attempts atomic.Int64
			load := func(context.Context, string) (string, error) {
				attempts.Add(1)
				return "", errDown
			}
			for range 5 {
				fetches(t, m, "old", load)
			}
			assert.EqualValues(t, 1, attempts.Load(), "the others come too soon")
			assert.EqualValues(t, 5, m.Stats().Reads.Stale)
			time.Sleep(time.Second + 20*time.Millisecond)
			fetches(t, m, "old", load)
			assert.EqualValues(t, 2, attempts.Load())
		}
		time.Sleep(2 * time.Second)
		fetches(t, a, "new", is("new"))
		fetches(t, a, "new", none)
		stale := a.Stats().Reads.Stale
		time.Sleep(time.Minute)
		fetches(t, a, "new", failing)
		assert.Equal(t, stale+1, a.Stats().Reads.Stale)
		time.Sleep(time.Hour)
		_, err := a.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown, "it is kept for FailSafe and no longer")
	})
}

// TestFailSafe_OffByDefault: no value outlives its TTL.
func TestFailSafe_OffByDefault(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m, other := f.join(nearcache.Options[string]{TTL: time.Minute}), f.join(keeping)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		_, err := m.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown)

		require.NoError(t, other.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		_, err = m.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown, "that others keep is nothing to it")
		fetches(t, m, "new", is("new"))
	})
}

// TestFailSafe_SharedTierDown: what is near is of use although it cannot be
// confirmed, or has expired.
func TestFailSafe_SharedTierDown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		m := f.join(keeping)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		f.store.down()
		time.Sleep(10 * time.Second)
		require.False(t, m.node.Health().Trusted)
		fetches(t, m, "old", failing)
		v, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "old", v)
		time.Sleep(time.Minute)
		v, err = m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "old", v)
		fetches(t, m, "old", failing)
		assert.EqualValues(t, 4, m.Stats().Reads.Stale)

		time.Sleep(2 * time.Second)
		fetches(t, m, "newer", is("newer"))
		time.Sleep(10 * time.Second)
		_, err = m.Fetch(t.Context(), "k", failing)
		if err == nil {
			fetches(t, m, "newer", failing)
		}
	})
}

// TestFailSafe_NotFound is an answer, and the end of the old value.
func TestFailSafe_NotFound(t *testing.T) {
	for name, opts := range map[string]nearcache.Options[string]{
		"forgotten":  keeping,
		"remembered": {TTL: time.Minute, Stale: nearcache.Stale{For: time.Hour}, NotFoundTTL: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(opts), f.join(opts)
				require.NoError(t, a.Set(t.Context(), "k", "old"))
				time.Sleep(time.Minute + time.Second)
				_, err := a.Fetch(t.Context(), "k", absent)
				require.ErrorIs(t, err, nearcache.ErrNotFound)
				time.Sleep(2 * time.Second)
				for _, m := range []*member{a, b} {
					_, err = m.Fetch(t.Context(), "k", failing)
					require.ErrorIs(t, err, errDown)
				}
			})
		})
	}
}

// TestFailSafe_Invalidate may be served stale, on every node, also while the
// shared tier is down; Delete and Clear never are.
func TestFailSafe_Invalidate(t *testing.T) {
	for name, c := range map[string]struct {
		write func(ctx context.Context, m *member) error
		stale bool
	}{
		"Invalidate": {func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") }, true},
		"Delete":     {func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") }, false},
		"Clear":      {func(ctx context.Context, m *member) error { return m.Clear(ctx) }, false},
	} {
		for _, down := range []bool{false, true} {
			for _, journal := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					bubble(t, func(t *testing.T, f *fleet) {
						f.journal = journal
						a, b, cold := f.join(keeping), f.join(keeping), f.join(keeping)
						require.NoError(t, a.Set(t.Context(), "k", "old"))
						settle()
						fetches(t, b, "old", none)
						require.NoError(t, c.write(t.Context(), a))
						settle()
						time.Sleep(3 * time.Second) // the journal is read
						nodes := []*member{a, b}
						if down {
							f.store.down()
						} else {
							nodes = append(nodes, cold)
						}
						for _, m := range nodes {
							v, err := m.Fetch(t.Context(), "k", failing)
							if !c.stale {
								require.ErrorIs(t, err, errDown)
								continue
							}
							require.NoError(t, err)
							assert.Equal(t, "old", v)
						}
						time.Sleep(2 * time.Second)
						fetches(t, a, "new", is("new"))
					})
				})
			}
		}
	}
}

// TestHazard12_NeverBehindNewer: an old value is not given by a node that gave a
// newer one, whatever became of the newer one.
func TestHazard12_NeverBehindNewer(t *testing.T) {
	for name, invalidated := range map[string]bool{"past its TTL": false, "invalidated": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal = true
				m, other := f.join(keeping), f.join(keeping)
				require.NoError(t, m.Set(t.Context(), "k", "old"))
				time.Sleep(time.Minute + time.Second)
				f.store.onBefore(func(_ context.Context, op, _ string) error { // nothing can be stored
					if op == "fill" {
						return errDown
					}
					return nil
				})
				fetches(t, m, "newer", is("newer"))
				f.store.onBefore(nil)
				time.Sleep(6 * time.Second) // the lease that could not be given back
				if invalidated {
					require.NoError(t, other.Invalidate(t.Context(), "k")) // which makes the old value no newer
					settle()
				}
				fetches(t, other, "old", failing)
				_, err := m.Fetch(t.Context(), "k", failing)
				require.ErrorIs(t, err, errDown)
			})
		})
	}
}

// TestHazard12_DeleteMeanwhile: a value that was deleted while a load ran is not
// given to those who ask after that.
func TestHazard12_DeleteMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		settle()
		fetches(t, b, "old", none)
		time.Sleep(time.Minute + time.Second)
		release := make(chan struct{})
		slow := func(context.Context, string) (string, error) {
			<-release
			return "", errDown
		}
		first := make(chan error)
		go func() {
			_, err := b.Fetch(t.Context(), "k", slow)
			first <- err
		}()
		synctest.Wait()
		require.NoError(t, a.Delete(t.Context(), "k"))
		settle()
		go func() {
			_, err := b.Fetch(t.Context(), "k", failing)
			first <- err
		}()
		require.ErrorIs(t, <-first, errDown)
		close(release)
		require.ErrorIs(t, <-first, errDown)
		_, err := b.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown)
		time.Sleep(time.Minute)
		_, err = b.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown)
	})
}

// TestHazard12_NotInstalled: an old value is never a hit.
func TestHazard12_NotInstalled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		fetches(t, b, "old", failing)
		hits := b.Stats().Reads.Hits
		time.Sleep(2 * time.Second)
		_, err := b.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "the shared tier works and has no live value")
		fetches(t, b, "new", is("new"))
		assert.Equal(t, hits, b.Stats().Reads.Hits)
	})
}

// TestFailSafe_UnansweredDelete: after a delete that was not confirmed, the old
// value is not given either.
func TestFailSafe_UnansweredDelete(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		settle()
		fetches(t, b, "old", none)
		f.store.down()
		require.ErrorIs(t, a.Delete(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		settle()
		for _, m := range []*member{a, b} {
			_, err := m.Fetch(t.Context(), "k", failing)
			require.ErrorIs(t, err, errDown)
		}
		f.store.onBefore(nil)
		time.Sleep(5 * time.Second) // the debt is paid
		for _, m := range []*member{a, b} {
			_, err := m.Fetch(t.Context(), "k", failing)
			require.ErrorIs(t, err, errDown)
		}
	})
}

// TestFailSafe_OneLoadInTheFleet: past the TTL, one node loads and the others
// take what it stored.
func TestFailSafe_OneLoadInTheFleet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var nodes []*member
		for range 5 {
			nodes = append(nodes, f.join(keeping))
		}
		require.NoError(t, nodes[0].Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		load, loads := counting("new", 300*time.Millisecond)
		done := make(chan string)
		for _, m := range nodes {
			for range 3 {
				go func() {
					v, err := m.Fetch(t.Context(), "k", load)
					done <- strings.Join([]string{v, fmtErr(err)}, "")
				}()
			}
		}
		for range 15 {
			assert.Equal(t, "new", <-done)
		}
		assert.EqualValues(t, 1, loads.Load())
	})
}

func fmtErr(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestFailSafe_OneAttemptInTheFleet: where the node that tries fails, those who
// wait for it get the old value at once.
func TestFailSafe_OneAttemptInTheFleet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		nodes := []*member{f.join(keeping), f.join(keeping), f.join(keeping)}
		require.NoError(t, nodes[0].Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		var attempts atomic.Int64
		done := make(chan string)
		for _, m := range nodes {
			go func() {
				v, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
					attempts.Add(1)
					time.Sleep(200 * time.Millisecond)
					return "", errDown
				})
				done <- v + fmtErr(err)
			}()
		}
		for range nodes {
			assert.Equal(t, "old", <-done)
		}
		assert.EqualValues(t, 1, attempts.Load())
	})
}

// TestFailSafe_WriteMeanwhile fences a load past the TTL as any other: G5.
func TestFailSafe_WriteMeanwhile(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"Set":        func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "written") },
		"Invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"Delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"Clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(keeping), f.join(keeping)
				require.NoError(t, a.Set(t.Context(), "k", "old"))
				time.Sleep(time.Minute + time.Second)
				v, err := b.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
					return "stale", write(ctx, a)
				})
				require.NoError(t, err)
				settle()
				want := "written"
				if name != "Set" {
					want = "new"
					assert.Equal(t, "stale", v)
				}
				for _, m := range []*member{a, b} {
					fetches(t, m, want, is("new"))
				}
			})
		})
	}
}

// TestFailSafe_FetchMany: each key that fails is answered with its old value,
// and what is past its TTL is loaded with one call.
func TestFailSafe_FetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		old := map[string]string{"1": "one", "2": "two"}
		require.NoError(t, a.SetMany(t.Context(), old))
		time.Sleep(time.Minute + time.Second)
		keys := []string{"1", "2", "3"}
		values, err := b.FetchMany(t.Context(), keys, func(context.Context, []string) (map[string]string, error) {
			return nil, errDown
		})
		require.ErrorIs(t, err, errDown, "the third has no old value")
		assert.Equal(t, old, values)
		time.Sleep(2 * time.Second)

		calls := 0
		values, err = b.FetchMany(t.Context(), keys, func(_ context.Context, missing []string) (map[string]string, error) {
			calls++
			assert.Len(t, missing, 3)
			return map[string]string{"1": "uno", "2": "due", "3": "tre"}, nil
		})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"1": "uno", "2": "due", "3": "tre"}, values)
		assert.Equal(t, 1, calls)
		v, err := a.Get(t.Context(), "2")
		require.NoError(t, err)
		assert.Equal(t, "due", v)
	})
}

// TestFailSafe_BusOnly: without a shared tier, what is near is kept.
func TestFailSafe_PanicsAndTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.LoadTimeout = time.Second
		m := f.join(opts)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		fetches(t, m, "old", func(context.Context, string) (string, error) { panic("boom") })
		time.Sleep(2 * time.Second)
		began := time.Now()
		fetches(t, m, "old", func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		assert.Less(t, time.Since(began), 1100*time.Millisecond)
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := m.Fetch(ctx, "k", func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded, "who left gets what it asked for")
		time.Sleep(2 * time.Second)
	})
}

// TestSoftTimeout_SlowLoader: the caller gets the old value in time, and the
// load goes on and is stored.
func TestSoftTimeout_SlowLoader(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.Stale.Timeout = 100 * time.Millisecond
		a, b := f.join(opts), f.join(opts)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		for _, m := range []*member{a, b} {
			load, loads := counting("new", 3*time.Second)
			began := time.Now()
			fetches(t, m, "old", load)
			assert.Equal(t, 100*time.Millisecond, time.Since(began))
			fetches(t, m, "old", load)
			assert.Equal(t, 100*time.Millisecond, time.Since(began), "the next one does not wait at all")
			assert.EqualValues(t, 2, m.Stats().Reads.Stale)
			time.Sleep(4 * time.Second)
			fetches(t, m, "new", none)
			assert.EqualValues(t, 1, loads.Load())
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			time.Sleep(time.Minute + time.Second)
		}
	})
}

// TestSoftTimeout_SlowSharedTier: the caller does not wait for it longer either.
func TestSoftTimeout_SlowSharedTier(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.Stale.Timeout = 100 * time.Millisecond
		m := f.join(opts)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "read" {
				time.Sleep(700 * time.Millisecond)
			}
			return nil
		})
		began := time.Now()
		fetches(t, m, "old", is("new"))
		assert.Equal(t, 100*time.Millisecond, time.Since(began))
		time.Sleep(3 * time.Second)
		f.store.onBefore(nil)
		fetches(t, m, "new", none)

		// Nobody has an old value: then there is nothing but to wait.
		load, _ := counting("v", time.Second)
		v, err := m.Fetch(t.Context(), "other", load)
		require.NoError(t, err)
		assert.Equal(t, "v", v)
	})
}

// TestSoftTimeout_OwnWrite: after it, the old value is not given.
func TestSoftTimeout_OwnWrite(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.Stale.Timeout = 100 * time.Millisecond
		m := f.join(opts)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		load, _ := counting("loaded", 3*time.Second)
		done := make(chan string)
		go func() {
			v, err := m.Fetch(t.Context(), "k", load)
			done <- v + fmtErr(err)
		}()
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, m.Delete(t.Context(), "k"))
		assert.Equal(t, "loaded", <-done, "it waited, because the old value was deleted")
		_, err := m.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown)
	})
}

// TestOptions_FailSafe: what contradicts itself is refused by name.
func TestOptions_FailSafe(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		for want, opts := range map[string]nearcache.Options[string]{
			"Options.Stale.For is negative":                              {Stale: nearcache.Stale{For: -1}},
			"Options.Stale.RetryAfter is negative":                       {Stale: nearcache.Stale{For: 1, RetryAfter: -1}},
			"Options.Stale.RetryAfter is 1s without Stale.For":           {Stale: nearcache.Stale{RetryAfter: time.Second}},
			"Options.Stale.Timeout is negative":                          {Stale: nearcache.Stale{For: 1, Timeout: -1}},
			"Options.Stale.Timeout is 1s without Stale.For":              {Stale: nearcache.Stale{Timeout: time.Second}},
			"Options.Stale.Timeout 1m0s is not shorter than LoadTimeout": {Stale: nearcache.Stale{For: 1, Timeout: time.Minute}},
			"Options.RefreshAhead is negative":                           {RefreshAhead: -1},
			"Options.RefreshAhead 5m0s is not shorter than TTL 5m0s":     {RefreshAhead: 5 * time.Minute},
		} {
			_, err := nearcache.New(m.node, "other", opts)
			require.ErrorContains(t, err, "nearcache: "+want)
		}
	})
}

// TestHazard12_Refused: what was given although it could not be stored, because
// the old value was invalidated meanwhile, is newer than the old value.
func TestHazard12_Refused(t *testing.T) {
	for _, journal := range []bool{true, false} {
		for _, answer := range []string{"newer", "none"} {
			t.Run(answer, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.journal = journal
					m, other := f.join(keeping), f.join(keeping)
					require.NoError(t, m.Set(t.Context(), "k", "old"))
					time.Sleep(time.Minute + time.Second)
					v, err := m.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
						require.NoError(t, other.Invalidate(ctx, "k"))
						settle()
						if answer == "none" {
							return "", nearcache.ErrNotFound
						}
						return answer, nil
					})
					if answer == "none" {
						require.ErrorIs(t, err, nearcache.ErrNotFound)
					} else {
						require.NoError(t, err)
						require.Equal(t, answer, v)
					}
					time.Sleep(2 * time.Second)
					v, err = m.Fetch(t.Context(), "k", failing)
					require.ErrorIs(t, err, errDown, "got %q", v)
				})
			})
		}
	}
}

// TestHazard12_WithoutJournal: what was loaded while the shared tier was down is
// newer than the old value that it has.
func TestHazard12_WithoutJournal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(keeping)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		f.store.down()
		fetches(t, m, "newer", is("newer"))
		f.store.onBefore(nil)
		time.Sleep(10 * time.Second)
		v, err := m.Fetch(t.Context(), "k", failing)
		if err == nil {
			require.Equal(t, "newer", v)
		}
	})
}

// TestHazard12_DeleteIsRead: a node that reads that the key was deleted does not
// give the old value, although nobody told it.
func TestHazard12_DeleteIsRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		fetches(t, b, "old", failing)
		time.Sleep(3 * time.Second)
		b.link.loses.Store(true)
		once := false
		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if op == "acquire" && !once {
				once = true
				return a.Delete(context.Background(), "k")
			}
			return nil
		})
		v, err := b.Fetch(t.Context(), "k", failing)
		require.ErrorIs(t, err, errDown, "got %q", v)
	})
}

// TestSoftTimeout_Many: several keys are waited for together, not one after the
// other.
func TestSoftTimeout_Many(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.Stale.Timeout = time.Second
		m := f.join(opts)
		keys := []string{"a", "b", "c", "d", "e"}
		for _, k := range keys {
			require.NoError(t, m.Set(t.Context(), k, "old"))
		}
		time.Sleep(time.Minute + time.Second)
		began := time.Now()
		got, err := m.FetchMany(t.Context(), keys, func(ctx context.Context, _ []string) (map[string]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		require.NoError(t, err)
		require.Len(t, got, 5)
		assert.LessOrEqual(t, time.Since(began), 1100*time.Millisecond)
	})
}

// TestSoftTimeout_SlowRead: who waited for SoftTimeout while the shared tier was
// still being read has its old value when that is known, not when the load ends.
func TestSoftTimeout_SlowRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.Stale.Timeout = time.Second
		f.tierOpts.Timeout, f.nodeOpts.SharedPatience = 5*time.Second, 5*time.Second
		a, m := f.join(opts), f.join(opts)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if op == "read" && key == "users:k" {
				return sleepFor(ctx, 1500*time.Millisecond)
			}
			return nil
		})
		hang := func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		first := make(chan struct{})
		go func() {
			defer close(first)
			_, _ = m.Fetch(t.Context(), "k", hang)
		}()
		synctest.Wait()
		began := time.Now()
		v, err := m.Fetch(t.Context(), "k", hang)
		require.NoError(t, err)
		require.Equal(t, "old", v)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		<-first
		time.Sleep(time.Minute) // the load ends
	})
}
