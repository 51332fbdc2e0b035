package nearcache_test

import (
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/memstore"
)

// logged runs test with a node that logs, and whose bus logs to the same place.
func logged(t *testing.T, journal bool, test func(t *testing.T, f *fleet, m *member, lines func() []string), opts ...nearcache.Options[string]) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		t.Helper()
		f.journal = journal
		lines := f.log()
		test(t, f, f.join(opts...), lines)
	})
}

// log has the nodes that join from now on log. lines returns what was logged since it
// was called last, without times.
func (f *fleet) log() (lines func() []string) {
	var log linesLogged
	f.nodeOpts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	stamp := regexp.MustCompile(`(?m)^time=\S+ `)
	company := regexp.MustCompile(`(?m)^time=\S+ level=INFO msg="nearcache: other servers (joined|left|that had fallen silent).*\n`)
	return func() []string {
		synctest.Wait()
		text := stamp.ReplaceAllString(company.ReplaceAllString(log.take(), ""), "")
		return strings.Split(strings.TrimSpace(text), "\n")
	}
}

// linesLogged is what was logged since it was taken last.
type linesLogged struct {
	mu   sync.Mutex // protects text
	text strings.Builder
}

func (l *linesLogged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *linesLogged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestNotices_Bus: each loss of the bus is told once, and so is its end.
func TestNotices_Bus(t *testing.T) {
	logged(t, false, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
		assert.Equal(t, []string{""}, lines(), "nothing is worth telling of a start")
		for range 2 {
			m.link.deaf.Store(true)
			wait(10 * time.Second)
			got := lines()
			require.Len(t, got, 1, got)
			assert.Contains(t, got[0], `level=WARN msg="nearcache: lost the bus" reason=`)
			m.link.deaf.Store(false)
			wait(10 * time.Second)
			got = lines()
			require.Len(t, got, 1, got)
			assert.Regexp(t, `^level=INFO msg="nearcache: the bus is heard again" after=(7|8|9|10|11)(\.\d+)?s$`, got[0])
		}
	})
}

// TestNotices_Journal: that the journal cannot be read is told once, and so is
// that it can.
func TestNotices_Journal(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		assert.Equal(t, []string{""}, lines(), "the first read of a journal is a reset, but no news")
		for range 2 {
			failTails(f)
			wait(10 * time.Second)
			got := lines()
			require.Len(t, got, 1, got)
			assert.Contains(t, got[0], `level=WARN msg="nearcache: cannot read the journal" error="nearcache: journal 0: connection refused"`)
			require.Error(t, m.node.Health().Journal)
			f.store.onBefore(nil)
			wait(2 * time.Second)
			got = lines()
			require.Len(t, got, 1, got)
			assert.Regexp(t, `^level=INFO msg="nearcache: the journal is read again" after=(8|9|10)(\.\d+)?s$`, got[0])
			require.NoError(t, m.node.Health().Journal)
		}
	})
}

// TestNotices_Reset: why the near tier was flushed.
func TestNotices_Reset(t *testing.T) {
	for _, c := range []struct {
		why   string
		reset func(*memstore.Store)
	}{
		{"the journal does not go back to what this node had read", (*memstore.Store).TrimJournal},
		{"the shared tier may have lost writes", (*memstore.Store).BeginEpoch},
	} {
		logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
			require.NoError(t, m.Set(t.Context(), "k", "v"))
			wait(2 * time.Second)
			assert.Equal(t, []string{""}, lines())
			c.reset(f.store.Store.(*memstore.Store))
			wait(2 * time.Second)
			got := lines()
			require.Len(t, got, 1, got)
			assert.Contains(t, got[0],
				`level=WARN msg="nearcache: flushed the near tier, because the journal cannot be read on" reason="`+c.why)
		})
	}
}

// TestNotices_ResetAgain: a journal that is taken away again and again is one line for each
// reason, and one when it has stayed for a minute.
func TestNotices_ResetAgain(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		memory := f.store.Store.(*memstore.Store)
		for range 2 {
			for range 20 {
				require.NoError(t, m.Set(t.Context(), "k", "v"))
				wait(2 * time.Second)
				memory.TrimJournal()
			}
			memory.BeginEpoch()
			wait(2 * time.Second)
			got := lines()
			require.Len(t, got, 2, got)
			assert.Contains(t, got[0], `level=WARN msg="nearcache: flushed the near tier, because the journal cannot be read on" reason="the journal does not`)
			assert.Contains(t, got[1], `level=WARN msg="nearcache: flushed the near tier, because the journal cannot be read on" reason="the shared tier may`)
			time.Sleep(2 * time.Minute)
			requireLine(t, lines, `^level=INFO msg="nearcache: the journal can be read on again" times=20 after=3\d(\.\d+)?s$`)
		}
		memory.BeginEpoch()
		wait(2 * time.Second)
		requireLine(t, lines, `level=WARN`)
		time.Sleep(2 * time.Minute)
		requireSilent(t, lines)
	})
}

// TestNotices_Silence: that another process is gone is no loss of the bus. It is worth
// a warning where it costs what is near.
func TestNotices_Silence(t *testing.T) {
	for want, journal := range map[string]bool{
		`^level=INFO msg="nearcache: another server has fallen silent" reason="bus: another process has fallen silent: \\"\S+\\""$`:                                true,
		`^level=WARN msg="nearcache: another server has fallen silent, and the near tier was flushed" reason="bus: another process has fallen silent: \\"\S+\\""$`: false,
	} {
		logged(t, journal, func(t *testing.T, f *fleet, _ *member, lines func() []string) {
			f.nodeOpts.Logger = nil
			killed := f.join()
			wait(5 * time.Second)
			killed.link.mute.Store(true)
			wait(10 * time.Second)
			got := lines()
			require.Len(t, got, 1, got)
			assert.Regexp(t, want, got[0])
		})
	}
}

// TestNotices_SilenceAndLoss: the bus is lost before the node has caught up with the
// silence of another.
func TestNotices_SilenceAndLoss(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		f.nodeOpts.Logger = nil
		killed := f.join()
		wait(5 * time.Second)
		killed.link.mute.Store(true)
		f.eventually(func() bool { return m.node.Stats().Bus.Gaps == 1 })
		m.link.deaf.Store(true)
		wait(10 * time.Second)
		got := lines()
		require.Len(t, got, 2, got)
		assert.Contains(t, got[0], `level=INFO msg="nearcache: another server has fallen silent"`)
		assert.Contains(t, got[1], `level=WARN msg="nearcache: lost the bus" reason="bus: own heartbeat did not come back"`)
		assert.EqualValues(t, 2, m.node.Stats().Bus.Gaps)
		m.link.deaf.Store(false)
		wait(10 * time.Second)
		got = lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `level=INFO msg="nearcache: the bus is heard again"`)
	})
}

// TestNotices_Unreadable: messages that cannot be read, of which anybody may send any
// number, are one line when they begin to come and one when they do not any more. That the
// bus is lost meanwhile is told all the same.
func TestNotices_Unreadable(t *testing.T) {
	for _, payload := range []string{"secret", "\xf8\x01\x01secret", "\xf8\x02\x01secret"} {
		logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
			stranger := f.hub.Join()
			floods := func() {
				for range 100 {
					require.NoError(t, stranger.Publish(t.Context(), []byte(payload)))
					time.Sleep(100 * time.Millisecond)
				}
			}
			floods()
			requireLine(t, lines, `^level=WARN msg="bus: what comes on the channel cannot be read, and is skipped" reason="bus: `)
			m.link.deaf.Store(true)
			time.Sleep(10 * time.Second)
			requireLine(t, lines, `msg="nearcache: lost the bus" reason="bus: own heartbeat did not come back"`)
			m.link.deaf.Store(false)
			time.Sleep(10 * time.Second)
			requireLine(t, lines, `msg="nearcache: the bus is heard again"`)
			time.Sleep(time.Minute)
			requireLine(t, lines, `^level=INFO msg="bus: what comes on the channel can be read again" count=100 after=9.9s$`)
		})
	}
}
