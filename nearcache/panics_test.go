package nearcache_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// errSecret is what nobody may find in a log.
var errSecret = errors.New("secret")

func panicking(context.Context, string) (string, error) { panic(errSecret) }

// requirePanicLogged requires one line about a panic of callback, with where it was.
func requirePanicLogged(t *testing.T, lines []string, callback, where string) {
	t.Helper()
	require.Len(t, lines, 1, lines)
	assert.Contains(t, lines[0], `level=ERROR msg="nearcache: a function that the cache was given panicked" callback=`+callback+" cache=users key=k stack=")
	assert.Contains(t, lines[0], where)
	assert.NotContains(t, lines[0], "secret")
}

// TestPanics_FailSafe: callers get the old value and no error; the log has the panic, and
// that old values are given, once.
func TestPanics_FailSafe(t *testing.T) {
	logged(t, true, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		for range 3 {
			time.Sleep(time.Minute + time.Second)
			fetches(t, m, "old", panicking)
		}
		got := lines()
		requirePanicLogged(t, got[:1], "loader", "panics_test.go")
		require.Len(t, got, 2, got)
		assert.Contains(t, got[1], `msg="nearcache: old values are given, because loads fail" cache=users reason="the loader panicked"`)
		assert.EqualValues(t, 3, m.Stats().Values.Panics)
		assert.EqualValues(t, 3, m.Stats().Loads.Errors)
	}, keeping)
}

// TestPanics_RefreshAhead: nobody waits for a refresh that panics.
func TestPanics_RefreshAhead(t *testing.T) {
	logged(t, true, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(55 * time.Second)
		fetches(t, m, "old", panicking)
		settle()
		requirePanicLogged(t, lines(), "loader", "panics_test.go")
	}, nearcache.Options[string]{TTL: time.Minute, RefreshAhead: 10 * time.Second})
}

// panickyCodec panics instead of reading.
type panickyCodec struct{ shared.Codec }

func (panickyCodec) Unmarshal([]byte, any) error { panic(errSecret) }

// TestPanics_Functions: what is in Options is named.
func TestPanics_Functions(t *testing.T) {
	for callback, opts := range map[string]nearcache.Options[string]{
		"codec": {Codec: panickyCodec{shared.JSON}},
		"Clone": {Clone: func(string) string { panic(errSecret) }},
		"Tags":  {Tags: func(string, string) []string { panic(errSecret) }},
		"Cost":  {Cost: func(string) int64 { panic(errSecret) }},
	} {
		t.Run(callback, func(t *testing.T) {
			logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
				if callback != "Tags" { // a record that is found has its tags
					require.NoError(t, f.join().Set(t.Context(), "k", "v")) // by a node with other options
				}
				settle()
				_, _ = m.Fetch(t.Context(), "k", is("v"))
				settle()
				var panics []string
				for _, line := range lines() {
					if assert.NotContains(t, line, "secret"); strings.HasPrefix(line, "level=ERROR") {
						panics = append(panics, line)
					}
				}
				requirePanicLogged(t, panics, callback, "panics_test.go")
			}, opts)
		})
	}
}

// TestPanics_EndedGoroutine: a loader that ends its goroutine did not panic.
func TestPanics_EndedGoroutine(t *testing.T) {
	logged(t, false, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
		_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
			runtime.Goexit()
			return "", nil
		})
		var p *nearcache.PanicError
		require.ErrorAs(t, err, &p)
		got := lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `msg="nearcache: a function that the cache was given ended its goroutine" callback=loader cache=users key=k`)
	})
}
