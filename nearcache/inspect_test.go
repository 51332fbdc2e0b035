package nearcache_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// inspected are the options of caches that are inspected.
var inspected = nearcache.Options[string]{
	NearTTL: time.Minute, TTL: 2 * time.Minute, NotFoundTTL: time.Minute,
	Stale: nearcache.Stale{For: time.Hour},
	Tags:  func(string, string) []string { return []string{"team"} },
}

// looks are states of a key, what Inspect says, and what a read meets. a is inspected.
var looks = map[string]struct {
	opts  *nearcache.Options[string] // inspected, if nil
	tier  shared.Options
	state func(t *testing.T, f *fleet, a, b *member)
	want  nearcache.Outcome
	why   string
	err   error // of the read; nil: whatever it is
}{
	"nothing": {
		state: func(*testing.T, *fleet, *member, *member) {},
		want:  nearcache.OutcomeMiss, why: "nothing is near, and the shared tier has no value: nothing is stored",
		err: nearcache.ErrNotStored,
	},
	"written here": {
		state: func(t *testing.T, _ *fleet, a, _ *member) { require.NoError(t, a.Set(t.Context(), "k", "v")) },
		want:  nearcache.OutcomeHit, why: "the near tier has the value",
	},
	"written by another": {
		state: func(t *testing.T, _ *fleet, _, b *member) { require.NoError(t, b.Set(t.Context(), "k", "v")) },
		want:  nearcache.OutcomeSharedHit, why: "nothing is near, and the shared tier has the value",
	},
	"loaded": {
		state: func(t *testing.T, _ *fleet, a, _ *member) { _, _ = a.Fetch(t.Context(), "k", is("v")) },
		want:  nearcache.OutcomeHit, why: "the near tier has the value",
	},
	"near expired": {
		state: func(t *testing.T, _ *fleet, a, _ *member) {
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			wait(time.Minute + time.Second)
		},
		want: nearcache.OutcomeSharedHit, why: "what is near expired, and the shared tier has the value",
	},
	"expired": {
		state: func(t *testing.T, _ *fleet, _, b *member) {
			require.NoError(t, b.Set(t.Context(), "k", "v"))
			wait(3 * time.Minute)
		},
		want: nearcache.OutcomeMiss, why: "it expired",
		err: nearcache.ErrExpired,
	},
	"deleted": {
		state: func(t *testing.T, _ *fleet, a, b *member) {
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			require.NoError(t, b.Delete(t.Context(), "k"))
		},
		want: nearcache.OutcomeMiss, why: "it was deleted or invalidated a moment ago",
		err: nearcache.ErrDeleted,
	},
	"invalidated": {
		state: func(t *testing.T, _ *fleet, a, b *member) {
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			require.NoError(t, b.Invalidate(t.Context(), "k"))
		},
		want: nearcache.OutcomeMiss, why: "what is near was invalidated, and the shared tier has no value: it was invalidated, and is kept",
		err: nearcache.ErrDeleted,
	},
	"cleared": {
		state: func(t *testing.T, _ *fleet, a, b *member) {
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			require.NoError(t, b.Clear(t.Context()))
		},
		want: nearcache.OutcomeMiss, why: `what is near was ended by a Clear, .* its cache was cleared since, as was told by "[^"]+" \(clear\), heard `,
		err: nearcache.ErrCleared,
	},
	"ended by a tag": {
		state: func(t *testing.T, _ *fleet, a, b *member) {
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			require.NoError(t, b.InvalidateTags(t.Context(), "team"))
		},
		want: nearcache.OutcomeMiss, why: `one of its tags was invalidated since, as was told by "[^"]+" \(tag\), heard `,
		err: nearcache.ErrTagInvalidated,
	},
	"no value in the source": {
		state: func(t *testing.T, _ *fleet, _, b *member) { _, _ = b.Fetch(t.Context(), "k", absent) },
		want:  nearcache.OutcomeSharedHit, why: "the shared tier remembers that the source has no value",
		err: nearcache.ErrNegative,
	},
	"no value in the source, near": {
		state: func(t *testing.T, _ *fleet, a, _ *member) { _, _ = a.Fetch(t.Context(), "k", absent) },
		want:  nearcache.OutcomeHit, why: "the near tier remembers that the source has no value",
		err: nearcache.ErrNegative,
	},
	"no value in the source, and not heeded": {
		opts:  &nearcache.Options[string]{},
		state: func(t *testing.T, f *fleet, _, _ *member) { _, _ = f.join(inspected).Fetch(t.Context(), "k", absent) },
		want:  nearcache.OutcomeMiss, why: "NotFoundTTL is 0",
		err: nearcache.ErrNegative,
	},
	"being loaded": {
		state: func(t *testing.T, _ *fleet, _, b *member) {
			go func() {
				_, _ = b.Fetch(context.Background(), "k", func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() })
			}()
			wait(time.Second)
		},
		want: nearcache.OutcomeMiss, why: "a node is loading it",
		err: nearcache.ErrNotStored,
	},
	"another schema": {
		opts: &nearcache.Options[string]{SchemaVersion: 7},
		state: func(t *testing.T, f *fleet, _, _ *member) {
			require.NoError(t, f.join(inspected).Set(t.Context(), "k", "v"))
		},
		want: nearcache.OutcomeMiss, why: `the record has codec 1 and schema 0, of which this cache reads none \(it writes 1 and 7\)`,
		err: nearcache.ErrUndecodable,
	},
	"another type": {
		state: func(t *testing.T, f *fleet, a, _ *member) {
			record := driver.Record{Kind: driver.KindValue, Codec: shared.JSON.ID(), Nonce: 1, Value: []byte("{")}
			require.NoError(t, f.tiers[0].Records().Write(t.Context(), []shared.Put{{Key: "users:k", Record: record, TTL: time.Minute}})[0].Err)
		},
		want: nearcache.OutcomeMiss, why: "the codec refuses the record",
		err: nearcache.ErrUndecodable,
	},
	"damaged": {
		state: func(t *testing.T, f *fleet, _, _ *member) {
			f.store.Store.Write(t.Context(), []driver.Write{{Key: "users:k", Image: make([]byte, driver.HeaderSize)}})
		},
		want: nearcache.OutcomeMiss, why: "it is no record of a cache, or is damaged",
		err: nearcache.ErrUndecodable,
	},
	"a write that was not confirmed": {
		opts: &nearcache.Options[string]{},
		state: func(t *testing.T, f *fleet, a, _ *member) {
			f.store.onBefore(func(_ context.Context, op, _ string) error {
				if op == "write" {
					return errDown
				}
				return nil
			})
			require.ErrorIs(t, a.Set(t.Context(), "k", "v"), nearcache.ErrOutcomeUnknown)
		},
		want: nearcache.OutcomeRefused, why: "an earlier write of the key by this node is not confirmed",
		err: nearcache.ErrOutcomeUnknown,
	},
	"the shared tier is down": {
		opts:  &nearcache.Options[string]{},
		state: func(_ *testing.T, f *fleet, _, _ *member) { f.store.down() },
		want:  nearcache.OutcomeRefused, why: "cannot be read: connection refused",
	},
	"the shared tier is down, with an old value": {
		state: func(t *testing.T, f *fleet, a, _ *member) {
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			wait(3 * time.Minute)
			f.store.down()
		},
		want: nearcache.OutcomeStale, why: "what is near expired, and the shared tier is not believed, or cannot be read",
	},
	"cleared, and the shared tier lost that": {
		opts: &nearcache.Options[string]{},
		state: func(t *testing.T, f *fleet, a, b *member) {
			require.NoError(t, b.Set(t.Context(), "k", "v"))
			require.NoError(t, a.Clear(t.Context()))
			gone := driver.Record{Kind: driver.KindTombstone, Nonce: 1}
			f.store.Store.Write(t.Context(), []driver.Write{{Key: "users!clock", Image: gone.Append(nil)}})
		},
		want: nearcache.OutcomeMiss, why: "the record is older than a Clear that this node knows of",
	},
	"the shared tier lost writes": {
		opts: &nearcache.Options[string]{},
		state: func(t *testing.T, f *fleet, _, b *member) {
			require.NoError(t, b.Set(t.Context(), "k", "v"))
			f.store.Store.(*memstore.Store).BeginEpoch()
			wait(2 * time.Second)
		},
		want: nearcache.OutcomeMiss, why: "the record is from before the shared tier lost writes",
	},
	"callers were given something later": {
		opts: &nearcache.Options[string]{},
		state: func(t *testing.T, f *fleet, a, b *member) {
			require.NoError(t, b.Set(t.Context(), "k", "v"))
			f.store.down()
			_, err := a.Fetch(t.Context(), "k", is("w"))
			require.NoError(t, err)
			f.store.onBefore(nil)
			wait(10 * time.Second)
		},
		want: nearcache.OutcomeMiss, why: "the record is older than what this node has given to callers and could not store",
	},
	"the breaker is open": {
		opts: &nearcache.Options[string]{},
		tier: shared.Options{BreakAfter: 1, BreakFor: time.Hour, Attempts: 1},
		state: func(t *testing.T, f *fleet, a, b *member) {
			require.NoError(t, b.Set(t.Context(), "k", "v"))
			f.store.onBefore(func(context.Context, string, string) error { return shared.ErrUnavailable })
			_, err := a.Get(t.Context(), "k")
			require.ErrorIs(t, err, shared.ErrUnavailable)
			f.store.onBefore(nil)
			wait(2 * time.Second)
		},
		want: nearcache.OutcomeRefused, why: "the shared tier is not read: its breaker is open",
		err: shared.ErrOpen,
	},
	"the journal is out of reach": {
		opts: &nearcache.Options[string]{},
		state: func(t *testing.T, f *fleet, a, _ *member) {
			_, _ = a.Fetch(t.Context(), "k", is("v"))
			failTails(f)
			wait(8 * time.Second)
		},
		want: nearcache.OutcomeRefused, why: "what is near is not believed: the journal was not read for .*, and a read waits for the journal first",
	},
}

// TestInspect_SaysWhatAReadMeets: for each state, Inspect changes nothing, and a read meets
// what it says.
func TestInspect_SaysWhatAReadMeets(t *testing.T) {
	for name, c := range looks {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal = true
				f.tierOpts = c.tier
				opts := inspected
				if c.opts != nil {
					opts = *c.opts
				}
				a, b := f.join(opts), f.join(opts)
				c.state(t, f, a, b)
				settle()

				before, writes := a.node.Metrics(), f.store.writes.Load()+f.store.fills.Load()+f.store.acquires.Load()
				i, err := a.Inspect(t.Context(), "k", nearcache.InspectOptions{})
				require.NoError(t, err)
				assert.Equal(t, c.want, i.Outcome, i.Why)
				assert.Regexp(t, c.why, i.Why)
				assert.Equal(t, settled(before), settled(a.node.Metrics()), "a look is counted")
				assert.Equal(t, writes, f.store.writes.Load()+f.store.fills.Load()+f.store.acquires.Load(), "a look writes")
				same, err := a.node.Inspect(t.Context(), "users", "k", nearcache.InspectOptions{})
				require.NoError(t, err)
				assert.Equal(t, i.Outcome, same.Outcome)

				got, err := meets(t, a)
				assert.Equal(t, c.want, got, "what a read meets: %s", i)
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				}
			})
		})
	}
}

// settled is metrics but for those that go on by themselves.
func settled(metrics []nearcache.Metric) map[string]float64 {
	all := make(map[string]float64)
	for _, m := range metrics {
		if !strings.HasPrefix(m.Name, "nearbus_journal_") && !strings.HasSuffix(m.Name, "_seconds") && !strings.HasPrefix(m.Name, "nearbus_bus_") {
			all[m.Name] = m.Value
		}
	}
	return all
}

// meets reads and returns what came of it.
func meets(t *testing.T, m *member) (nearcache.Outcome, error) {
	t.Helper()
	before := m.Stats()
	got, err := m.Read(t.Context(), "k", nearcache.ReadOptions{NoLoad: true}, nil)
	after := m.Stats()
	switch {
	case got.Stale:
		return nearcache.OutcomeStale, err
	case after.Reads.Hits > before.Reads.Hits:
		return nearcache.OutcomeHit, err
	case after.Reads.SharedHits > before.Reads.SharedHits:
		return nearcache.OutcomeSharedHit, err
	case errors.Is(err, nearcache.ErrNotFound):
		return nearcache.OutcomeMiss, err
	}
	require.Error(t, err)
	return nearcache.OutcomeRefused, err
}

// TestInspect_LoadWithoutResult: the tombstone that such a load leaves is older than all writes, and
// tells no time.
func TestInspect_LoadWithoutResult(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, broken := f.join(inspected), errors.New("broken")
		wait(time.Second) // or what the node writes at its start is at this very moment
		_, err := a.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "", broken })
		require.ErrorIs(t, err, broken)
		i, err := a.Inspect(t.Context(), "k", nearcache.InspectOptions{})
		require.NoError(t, err)
		assert.Equal(t, "tombstone", i.Shared.Kind)
		assert.NotZero(t, i.Shared.Revision)
		assert.Zero(t, i.Shared.Written, i)
	})
}

// TestInspect_Tells: what is near, what is stored, who told of it; no value unless inspected for.
func TestInspect_Tells(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(inspected), f.join(inspected)
		require.NoError(t, b.Set(t.Context(), "k", "secret"))
		require.NoError(t, b.Set(t.Context(), "other", "secret"))
		settle()
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		wait(10 * time.Second)

		i, err := a.Inspect(t.Context(), "k", nearcache.InspectOptions{})
		require.NoError(t, err)
		assert.Equal(t, "value", i.Near.Kind)
		assert.True(t, i.Near.FromShared)
		assert.Equal(t, i.Near.Revision, i.Shared.Revision)
		assert.InDelta(t, 50, i.Near.Expires.Sub(i.At).Seconds(), 1)
		assert.InDelta(t, 110, i.Shared.Expires.Sub(i.At).Seconds(), 1)
		assert.InDelta(t, -10, i.Shared.Written.Sub(i.At).Seconds(), 1)
		assert.InDelta(t, 0, i.Near.Current.Sub(i.At).Seconds(), 1.5, "it is confirmed by the journal")
		assert.InDelta(t, nearcache.DefaultStaleness.Seconds(), i.Near.TrustedUntil.Sub(i.At).Seconds(), 1.5)
		assert.Equal(t, []nearcache.TagInspection{{Slot: i.Near.Tags[0].Slot, Name: "team"}}, i.Near.Tags)
		assert.Equal(t, i.Near.Tags, i.Shared.Tags)
		assert.Equal(t, "users:k", i.Shared.Name)
		j := i.Shared.Journal
		assert.True(t, j.Found)
		assert.Equal(t, i.Shared.Revision, j.Revision)
		assert.Equal(t, 1, j.Later)
		require.NotNil(t, j.Heard)
		assert.Equal(t, "set", j.Heard.Op)
		assert.False(t, j.Heard.Own)
		assert.NotEmpty(t, j.Heard.From)
		assert.Equal(t, j.Heard, i.Heard)

		own, err := b.Inspect(t.Context(), "k", nearcache.InspectOptions{})
		require.NoError(t, err)
		require.NotNil(t, own.Heard)
		assert.True(t, own.Heard.Own)

		stranger, err := bus.New(f.hub.Join(), bus.Options{Node: "stranger"})
		require.NoError(t, err)
		defer stranger.Close()
		require.NoError(t, stranger.Publish(t.Context(), bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "k"}))
		settle()
		later, err := a.Inspect(t.Context(), "k", nearcache.InspectOptions{})
		require.NoError(t, err)
		assert.Equal(t, "stranger", later.Heard.From)
		assert.Equal(t, j.Heard.From, later.Shared.Journal.Heard.From, "the journal has the write of the other node")
		assert.Equal(t, "set", later.Shared.Journal.Heard.Op)

		none, err := a.Inspect(t.Context(), "k", nearcache.InspectOptions{Journal: 1})
		require.NoError(t, err)
		assert.False(t, none.Shared.Journal.Found)
		assert.Contains(t, none.String(), "no entry among the newest 1")

		text, err := json.Marshal(i)
		require.NoError(t, err)
		assert.NotContains(t, string(text)+i.String(), "secret")
		assert.Contains(t, string(text), `"outcome":"hit"`)
		var back nearcache.Inspection
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, i.Shared.Journal.Revision, back.Shared.Journal.Revision)
		require.Error(t, json.Unmarshal([]byte(`{"near":{"revision":"1/x"}}`), &back))
		for _, part := range []string{`users "k": hit: `, "near     value, revision ", `tag slot `, `("team")`, "expires in 50s", `told by "`, "  bus      "} {
			assert.Contains(t, i.String(), part)
		}
		_, err = a.Get(t.Context(), "k")
		require.NoError(t, err)
		i, err = a.Inspect(t.Context(), "k", nearcache.InspectOptions{Values: true})
		require.NoError(t, err)
		assert.Equal(t, "secret", i.Near.Value)
		assert.Equal(t, "secret", i.Shared.Value)
	})
}

// TestInspectShared: who is none of the fleet sees the same record and journal.
func TestInspectShared(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a := f.join(inspected)
		require.NoError(t, a.Set(t.Context(), "k", "v"))
		settle()
		tier, err := shared.New(f.store.forNode(f), shared.Options{})
		require.NoError(t, err)
		s, err := nearcache.InspectShared(t.Context(), tier, "users", "k", nearcache.InspectOptions{Tags: []string{"team"}, Values: true})
		require.NoError(t, err)
		i, err := a.Inspect(t.Context(), "k", nearcache.InspectOptions{})
		require.NoError(t, err)
		assert.Equal(t, `"v"`, string(s.Value.([]byte)))
		s.Value, i.Shared.Journal.Heard, i.Shared.Expires = nil, nil, s.Expires
		assert.Equal(t, i.Shared, s)

		require.NoError(t, a.InvalidateTags(t.Context(), "team"))
		s, err = nearcache.InspectShared(t.Context(), tier, "users", "k", nearcache.InspectOptions{})
		require.NoError(t, err)
		assert.Contains(t, s.Why, "one of its tags was invalidated since: slot ")
		assert.True(t, s.Tags[0].Ended)
	})
}

// TestInspect_BadInput: what is refused, by name.
func TestInspect_BadInput(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		for _, opts := range []nearcache.InspectOptions{{Journal: 10_001}, {Tags: make([]string, 1025)}} {
			_, err := a.Inspect(t.Context(), "k", opts)
			assert.ErrorContains(t, err, "nearcache: InspectOptions.")
		}
		_, err := a.Inspect(t.Context(), "", nearcache.InspectOptions{})
		require.ErrorIs(t, err, nearcache.ErrInvalidKey)
		_, err = a.node.Inspect(t.Context(), "none", "k", nearcache.InspectOptions{})
		require.ErrorContains(t, err, `no cache "none"`)
		_, err = nearcache.InspectShared(t.Context(), f.tiers[0], "a:b", "k", nearcache.InspectOptions{})
		require.ErrorContains(t, err, "cache name")
		_, err = nearcache.InspectShared(t.Context(), f.tiers[0], "users", "", nearcache.InspectOptions{})
		require.ErrorIs(t, err, nearcache.ErrInvalidKey)
		require.NoError(t, a.node.Close(atOnce))
		_, err = a.Inspect(t.Context(), "k", nearcache.InspectOptions{})
		require.ErrorIs(t, err, nearcache.ErrClosed)
	})
}

// TestErrNotFound_Reasons: each reason is ErrNotFound as well, and no two are the same.
func TestErrNotFound_Reasons(t *testing.T) {
	reasons := []error{
		nearcache.ErrNotStored, nearcache.ErrNegative, nearcache.ErrDeleted, nearcache.ErrExpired,
		nearcache.ErrCleared, nearcache.ErrTagInvalidated, nearcache.ErrUndecodable,
	}
	for i, reason := range reasons {
		require.ErrorIs(t, reason, nearcache.ErrNotFound)
		for j, other := range reasons {
			assert.Equal(t, i == j, errors.Is(reason, other))
		}
	}
	assert.EqualError(t, nearcache.ErrDeleted, "nearbus: not found: deleted or invalidated")
}

// TestErrNotFound_CostsNothing: that the near tier knows of no value allocates nothing.
func TestErrNotFound_CostsNothing(t *testing.T) {
	f := newFleet(t)
	m := f.join(inspected)
	ctx := t.Context()
	_, err := m.Fetch(ctx, "k", absent)
	require.ErrorIs(t, err, nearcache.ErrNotFound)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, err = m.Get(ctx, "k") }))
	require.ErrorIs(t, err, nearcache.ErrNegative)
}

// TestNode_Journals: positions of all partitions, and none without a journal.
func TestNode_Journals(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		assert.Empty(t, f.join().node.Journals())
		f.journal = true
		a := f.join()
		require.NoError(t, a.Set(t.Context(), "k", "v"))
		wait(2 * time.Second)
		all := a.node.Journals()
		require.Len(t, all, 1)
		assert.Equal(t, all[0].Known, all[0].Applied)
		assert.InDelta(t, 0, time.Since(all[0].Read).Seconds(), 1.5)
		failTails(f)
		require.NoError(t, a.Set(t.Context(), "k", "v"))
		wait(5 * time.Second)
		all = a.node.Journals()
		assert.Greater(t, all[0].Known.Number, all[0].Applied.Number)
		assert.InDelta(t, 5.5, time.Since(all[0].Read).Seconds(), 1)
	})
}
