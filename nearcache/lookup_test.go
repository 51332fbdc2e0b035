package nearcache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

type read = nearcache.ReadOptions

// lookup is Read of k, with one loader at most.
func lookup(t *testing.T, m *member, r read, load ...func(context.Context, string) (string, error)) (nearcache.Result[string], error) {
	t.Helper()
	return m.Read(t.Context(), "k", r, nearcache.ValueLoader(append(load, nil)[0]))
}

// TestLookup without bounds is Get or Fetch, and tells how old the answer is.
func TestLookup(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		m := f.join()
		_, err := lookup(t, m, read{})
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		a, err := lookup(t, m, read{}, is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, nearcache.Result[string]{Value: "loaded"}, a)
		a, err = m.Read(t.Context(), "k", read{}, func(context.Context, string, *string) (nearcache.Loaded[string], error) {
			return nearcache.Loaded[string]{}, errNoLoad
		})
		require.NoError(t, err)
		assert.Equal(t, nearcache.Result[string]{Value: "loaded", Near: true}, a)
		for range 40 {
			wait(99 * time.Millisecond)
			a, err = lookup(t, m, read{})
			require.NoError(t, err)
			assert.True(t, a.Near)
			assert.Less(t, a.Age, time.Second+10*time.Millisecond, "the journal is read all the time")
		}
		assert.EqualValues(t, 41, m.Stats().Reads.Hits)
		assert.EqualValues(t, 2, m.Stats().Reads.Misses)

		_, err = lookup(t, m, read{MaxAge: -1})
		require.ErrorContains(t, err, "MaxAge is negative")
		_, err = m.Read(t.Context(), "", read{}, nil)
		require.ErrorIs(t, err, nearcache.ErrInvalidKey)
		require.NoError(t, m.node.Close(atOnce))
		_, err = lookup(t, m, read{FromShared: true})
		require.ErrorIs(t, err, nearcache.ErrClosed)
	})
}

// TestLookup_LosingBus: whatever the bus loses, the bound of a read holds, with
// a journal that can be read and with one that cannot.
func TestLookup_LosingBus(t *testing.T) {
	for name, spoil := range map[string]func(f *fleet){
		"journal":              func(*fleet) {},
		"journal out of reach": failTails,
	} {
		t.Run(name, func(t *testing.T) {
			journaled(t, func(t *testing.T, f *fleet, a, b *member) {
				wait(time.Second)
				spoil(f)
				require.NoError(t, b.Set(t.Context(), "k", "new"))
				got, err := lookup(t, a, read{MaxAge: time.Hour})
				require.NoError(t, err)
				assert.Equal(t, "old", got.Value, "it is within the bound")
				assert.True(t, got.Near)
				got, err = lookup(t, a, read{FromShared: true})
				require.NoError(t, err)
				assert.Equal(t, nearcache.Result[string]{Value: "new"}, got)
				requireNear(t, a, "k", "new")

				for i, age := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 900 * time.Millisecond, 3 * time.Second} {
					v := string(rune('a' + i))
					require.NoError(t, b.Set(t.Context(), "k", v))
					wait(age + time.Millisecond)
					got, err = lookup(t, a, read{MaxAge: age})
					require.NoError(t, err)
					assert.Equal(t, v, got.Value)
					assert.LessOrEqual(t, got.Age, age)
				}
			}, intervals(time.Second, 5*time.Second))
		})
	}
}

// TestLookup_AgeIsTrue: no answer is older than it says, whatever happens.
func TestLookup_AgeIsTrue(t *testing.T) {
	for name, spoil := range map[string]func(f *fleet){
		"journal":              func(*fleet) {},
		"journal out of reach": failTails,
	} {
		t.Run(name, func(t *testing.T) {
			journaled(t, func(t *testing.T, f *fleet, a, b *member) {
				spoil(f)
				written := map[string]time.Time{}
				last := ""
				for i := range 60 {
					if i%3 == 0 {
						last = string(rune('A' + i/3))
						require.NoError(t, b.Set(t.Context(), "k", last))
						written[last] = time.Now()
					}
					wait(170 * time.Millisecond)
					got, err := lookup(t, a, read{}, is(last)) // from the source once the journal is too far behind
					require.NoError(t, err)
					if next, ok := written[string(rune(got.Value[0]+1))]; ok && got.Value != last {
						assert.LessOrEqual(t, time.Since(next), got.Age, "%q was replaced longer ago than Age", got.Value)
					}
				}
			})
		})
	}
}

// TestLookup_Clear: a read of the shared tier hears of a Clear that nobody told
// this node of.
func TestLookup_Clear(t *testing.T) {
	for _, journal := range []bool{true, false} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal = journal
			a, b := f.join(), f.join()
			require.NoError(t, b.Set(t.Context(), "k", "old"))
			settle()
			_, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			a.loseNews()
			require.NoError(t, b.Clear(t.Context()))
			requireNear(t, a, "k", "old")
			_, err = lookup(t, a, read{FromShared: true})
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			_, err = a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	}
}

// TestLookup_JoinsNothingOlder: a bounded read does not join a read that began
// before what it has to see, and others do not lose theirs.
func TestLookup_JoinsNothingOlder(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		a.loseNews()
		f.store.onAfter(func(ctx context.Context, op, _ string) error {
			if op == "read" {
				f.store.onAfter(nil)
				return sleepFor(ctx, 300*time.Millisecond) // it has read the old value
			}
			return nil
		})
		first := make(chan string)
		go func() {
			v, err := a.Get(t.Context(), "k")
			assert.NoError(t, err)
			first <- v
		}()
		synctest.Wait()
		wait(100 * time.Millisecond)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		got, err := lookup(t, a, read{FromShared: true})
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
		assert.Equal(t, "old", <-first)
		requireNear(t, a, "k", "new")

		// One that began late enough is shared.
		reads := f.store.reads.Load()
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "read" {
				return sleepFor(ctx, 300*time.Millisecond)
			}
			return nil
		})
		require.NoError(t, a.Invalidate(t.Context(), "k"))
		go func() { _, _ = lookup(t, a, read{MaxAge: 100 * time.Millisecond}) }()
		synctest.Wait()
		wait(50 * time.Millisecond)
		_, err = lookup(t, a, read{MaxAge: 100 * time.Millisecond})
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.Equal(t, reads+1, f.store.reads.Load())
	})
}

// TestLookup_Loads: what neither tier has is loaded, once for the fleet.
func TestLookup_Loads(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(), f.join()
		load, calls := counting("v", 100*time.Millisecond)
		done := make(chan error)
		for _, m := range []*member{a, b, a, b} {
			go func() {
				got, err := m.Read(t.Context(), "k", read{FromShared: true}, nearcache.ValueLoader(load))
				if got.Value != "v" && err == nil {
					err = errors.New("another value")
				}
				done <- err
			}()
		}
		for range 4 {
			require.NoError(t, <-done)
		}
		assert.EqualValues(t, 1, calls.Load())
	})
}

// TestLookup_SharedTierDown: the source is as new as can be; without a loader
// there is no old answer.
func TestLookup_SharedTierDown(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		wait(100 * time.Millisecond)
		token := b.Token("k")
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		later := b.Token("k")
		require.NotEqual(t, token, later)
		f.store.down()
		for _, r := range []read{{MaxAge: time.Millisecond}, {FromShared: true}, {After: later}} {
			_, err := lookup(t, a, r)
			require.ErrorIs(t, err, errDown)
		}
		got, err := lookup(t, a, read{FromShared: true}, is("source"))
		require.NoError(t, err)
		assert.Equal(t, "source", got.Value)
		_, err = lookup(t, a, read{After: later}, is("source"))
		require.ErrorIs(t, err, nearcache.ErrUnproven)
		require.ErrorIs(t, err, errDown)
		require.NotContains(t, err.Error(), "source")
	})
}

// TestLookup_NoJournal: without one, Age counts from when the value was read.
func TestLookup_NoJournal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		wait(time.Second)
		got, err := lookup(t, a, read{})
		require.NoError(t, err)
		assert.Equal(t, time.Second, got.Age)
		reads := f.store.reads.Load()
		got, err = lookup(t, a, read{MaxAge: time.Second - 1})
		require.NoError(t, err)
		assert.Zero(t, got.Age)
		assert.Equal(t, reads+1, f.store.reads.Load())

		a.link.deaf.Store(true)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		require.NoError(t, b.Set(t.Context(), "other", "new"))
		got, err = lookup(t, a, read{After: b.Token("k")})
		require.NoError(t, err)
		assert.Equal(t, "new", got.Value)
	})
}

func TestLookup_BusOnly(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.joinBusOnly(), f.joinBusOnly()
		_, err := a.Fetch(t.Context(), "k", is("old"))
		require.NoError(t, err)
		require.NoError(t, b.Invalidate(t.Context(), "k"))
		for _, r := range []read{{FromShared: true}, {After: b.Token("k")}} {
			got, err := lookup(t, a, r, is("new"))
			require.NoError(t, err)
			assert.Equal(t, "new", got.Value)
		}
	})
}

// TestToken: another node that is given one does not answer with less.
func TestToken(t *testing.T) {
	writes := map[string]func(ctx context.Context, m *member) error{
		"set": func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "new") },
		"set many": func(ctx context.Context, m *member) error {
			return m.SetMany(ctx, map[string]string{"k": "new", "l": "x"})
		},
		"delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k", "l") },
		"clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	}
	for name, write := range writes {
		for _, off := range variants(fault.Journal) {
			t.Run(name, func(t *testing.T) {
				journaled(t, func(t *testing.T, f *fleet, a, b *member) {
					wait(1100 * time.Millisecond) // the journal was read up to here
					before := b.Token("k")
					require.NoError(t, write(t.Context(), b))
					token := b.Token("k")
					require.NotEqual(t, nearcache.ConsistencyToken{}, token)
					if !off.Off(fault.Journal) {
						require.NotEqual(t, before, token)
					}
					requireNear(t, a, "k", "old") // it has not heard of it
					text, err := token.MarshalText()
					require.NoError(t, err)
					require.NoError(t, token.UnmarshalText(text))
					got, err := lookup(t, a, read{After: token}, is("new"))
					require.NoError(t, err)
					assert.Equal(t, nearcache.Result[string]{Value: "new"}, got)
				}, without(off))
			})
		}
	}
}

// TestToken_NearIsEnough: what is known to cover the token is not read again.
func TestToken_NearIsEnough(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		token := b.Token("k")
		_, err := lookup(t, a, read{After: token})
		require.NoError(t, err)
		reads := f.store.reads.Load()
		got, err := lookup(t, a, read{After: token})
		require.NoError(t, err)
		assert.True(t, got.Near, "the entry contains the write")
		got, err = lookup(t, b, read{After: token})
		require.NoError(t, err)
		assert.True(t, got.Near, "it is its own write")

		require.NoError(t, b.Set(t.Context(), "other", "x"))
		token = b.Token("other") // of the same partition
		got, err = lookup(t, a, read{After: token})
		require.NoError(t, err)
		assert.False(t, got.Near, "the node has not heard of that")
		assert.Equal(t, reads+1, f.store.reads.Load())
		require.NoError(t, b.Set(t.Context(), "another", "x"))
		wait(time.Second)
		got, err = lookup(t, a, read{After: b.Token("k")})
		require.NoError(t, err)
		assert.True(t, got.Near, "the journal was read up to there")
		assert.Equal(t, reads+1, f.store.reads.Load())

		f.store.Store.(interface{ BeginEpoch() }).BeginEpoch()
		got, err = lookup(t, a, read{After: nearcacheToken(t, "1-0-zz-zz-0-0")})
		require.NoError(t, err)
		assert.False(t, got.Near, "a token of another epoch proves nothing")
	})
}

func nearcacheToken(t *testing.T, text string) (token nearcache.ConsistencyToken) {
	t.Helper()
	require.NoError(t, token.UnmarshalText([]byte(text)))
	return token
}

// TestToken_Unconfirmed: a write that failed is not promised.
func TestToken_Unconfirmed(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, _, b *member) {
		before := b.Token("k")
		failWrites(f)
		require.ErrorIs(t, b.Set(t.Context(), "k", "new"), nearcache.ErrOutcomeUnknown)
		assert.Equal(t, before, b.Token("k"))
		f.store.onBefore(nil)
		wait(3 * time.Second)
	})
}

func TestToken_Text(t *testing.T) {
	var token nearcache.ConsistencyToken
	text, err := token.MarshalText()
	require.NoError(t, err)
	assert.Empty(t, text)
	for _, good := range []string{"", "1-0-zz-zz-0-0", "1-1z141z3-3w5e11264sgsf-3w5e11264sgsf-3w5e11264sgsf-3w5e11264sgsf"} {
		token = nearcacheToken(t, good)
		assert.Equal(t, good, token.String())
	}
	for _, bad := range []string{
		"1", "-", "1-----", "2-0-1-1-0-0", "1-0-1-1-0", "1-0-1-1-0-0-0", "1-0-1-1-0-0 ", "1-0-ZZ-1-0-0", "1-0-01-1-0-0", "1-0-+1-1-0-0", "1-0-_1-1-0-0",
		"1-0-1-1-0-3w5e11264sgsg", "1-1z141z4-1-1-0-0", "1-0-0-0-0-0", "1-0-1-1-0-" + string(make([]byte, 100)), "\xff", "1-0-1-1-0-\x00",
	} {
		token = nearcache.ConsistencyToken{}
		require.ErrorIs(t, token.UnmarshalText([]byte(bad)), nearcache.ErrInvalidToken, "%q", bad)
		assert.Equal(t, nearcache.ConsistencyToken{}, token)
	}
}

func FuzzToken(f *testing.F) {
	f.Add([]byte("1-0-zz-zz-0-0"))
	f.Add([]byte("1-0-zz-zz-0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var token nearcache.ConsistencyToken
		if token.UnmarshalText(text) != nil {
			return
		}
		again, err := token.MarshalText()
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}

// TestLookup_Clone: each caller has a value of its own.
func TestLookup_Clone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{Clone: func(v string) string { return "copy of " + v }})
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		for _, r := range []read{{}, {FromShared: true}, {MaxAge: time.Minute}} {
			got, err := lookup(t, m, r)
			require.NoError(t, err)
			assert.Contains(t, got.Value, "copy of ")
		}
	})
}

// TestLookup_Tags: a token covers what tags have invalidated, and a read of the
// shared tier hears of it.
func TestLookup_Tags(t *testing.T) {
	for _, bound := range []string{"token", "shared", "age"} {
		t.Run(bound, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal = true
				a, b := f.join(), f.join()
				require.NoError(t, b.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", Tags: []string{"t"}}))
				settle()
				_, err := a.Get(t.Context(), "k")
				require.NoError(t, err)
				wait(1100 * time.Millisecond)
				failTails(f)
				a.loseNews()
				before := b.Token("k")
				require.NoError(t, b.InvalidateTags(t.Context(), "t"))
				requireNear(t, a, "k", "old")
				r := read{}
				switch bound {
				case "token":
					r.After = b.Token("k")
					require.NotEqual(t, before, r.After)
				case "shared":
					r.FromShared = true
				case "age":
					wait(50 * time.Millisecond)
					r.MaxAge = 50 * time.Millisecond
				}
				got, err := lookup(t, a, r, is("new"))
				require.NoError(t, err)
				assert.Equal(t, "new", got.Value)
			})
		})
	}
}

// TestLookup_AgeOfWhatIsRefreshed: a value that is about to be refreshed is as old
// as any other.
func TestLookup_AgeOfWhatIsRefreshed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{TTL: time.Minute, RefreshAhead: 30 * time.Second})
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		time.Sleep(40 * time.Second)
		a, err := lookup(t, m, read{})
		require.NoError(t, err)
		require.True(t, a.Near)
		assert.Equal(t, 40*time.Second, a.Age.Round(time.Second))
	})
}

// TestLookup_JoinsNothingUnbounded: a read that began late enough, but without
// bounds, does not know of a Clear that nobody told of.
func TestLookup_JoinsNothingUnbounded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		_, err := b.Get(t.Context(), "x")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		b.link.loses.Store(true)
		require.NoError(t, a.Clear(t.Context()))
		wait(100 * time.Millisecond)
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "read" && key == "users:k" {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		})
		first := make(chan struct{})
		go func() {
			defer close(first)
			_, _ = b.Get(t.Context(), "k")
		}()
		time.Sleep(10 * time.Millisecond)
		got, err := lookup(t, b, read{MaxAge: 60 * time.Millisecond})
		require.ErrorIs(t, err, nearcache.ErrNotFound, "got %v", got)
		<-first
	})
}

// TestLookup_AgeCoversClear: Age says up to when a Clear would be known, although
// the record itself was read just now.
func TestLookup_AgeCoversClear(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		f.nodeOpts.JournalInterval, f.nodeOpts.MaxStaleness = 20*time.Second, time.Minute
		a, b := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		_, err := b.Get(t.Context(), "x")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		b.link.loses.Store(true)
		require.NoError(t, a.Clear(t.Context()))
		cleared := time.Now()
		wait(300 * time.Millisecond)
		got, err := lookup(t, b, read{})
		if err == nil {
			assert.GreaterOrEqual(t, got.Age, time.Since(cleared), "%+v", got)
		}
	})
}

// TestLookup_UnprovenWithoutLoader: that there is no value is not proven while the
// shared tier is down, whatever Get says then.
func TestLookup_UnprovenWithoutLoader(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal = true
			a, b := f.join(), f.join(nearcache.Options[string]{ErrorsAsMisses: lenient})
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			settle()
			f.store.down()
			_, err := lookup(t, b, read{After: a.Token("k")})
			require.ErrorIs(t, err, nearcache.ErrUnproven)
		})
	}
}
