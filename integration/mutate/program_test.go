package main

import (
	"flag"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var every = flag.Int("every", 3, "which mutants TestPrograms_Same looks at")

// TestPrograms_Same: a mutant that is chosen in the program with all of them does what it
// does in one of its own. A third of them is looked at, unless -every=1: each takes a build.
func TestPrograms_Same(t *testing.T) {
	root, err := filepath.Abs("testdata/kinds")
	require.NoError(t, err)
	var all []mutant
	for _, file := range []string{"kinds.go", "kinds.lua"} {
		some, err := mutantsOf(root, file)
		require.NoError(t, err)
		all = append(all, some...)
	}
	w, err := newWorkshop(t.Context(), root, numbered(all))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	says := func(p *program, number int) string {
		require.Nil(t, p.failed)
		e, err := run(t.Context(), time.Second, root, []string{numberName + "=" + strconv.Itoa(number)}, p.file, "-test.v")
		require.NoError(t, err)
		require.True(t, e.failed)
		if e.hung {
			return "it hangs"
		}
		return regexp.MustCompile(`\(\d\.\d\ds\)`).ReplaceAllString(e.output, "")
	}
	together, err := w.all(t.Context(), suite{pkg: "."})
	require.NoError(t, err)
	was := says(together, 0)
	var kinds []kind
	for i := 0; i < len(all); i += *every {
		m := &all[i]
		alone, err := w.alone(t.Context(), t.TempDir(), m, suite{pkg: "."})
		require.NoError(t, err)
		if w.library.compiles(m) != nil {
			assert.NotNil(t, alone.failed, m)
			continue
		}
		own := says(alone, 0)
		constants := m.From == "const limit = 3" || m.From == "const half = 2"
		assert.Equal(t, !constants, m.shares(), m)
		if m.shares() {
			assert.Equal(t, own, says(together, m.number), m)
		}
		if own != was {
			kinds = append(kinds, m.Kind)
		}
	}
	slices.Sort(kinds)
	assert.Equal(t, []kind{comparison, constant, extreme, logic, negation, statement, truth}, slices.Compact(kinds))
}
