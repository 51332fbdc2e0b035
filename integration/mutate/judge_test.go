package main

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tinyCourt judges mutants of a package that has everything in small.
func tinyCourt(t *testing.T) (*court, []mutant) {
	t.Helper()
	root, err := filepath.Abs("testdata/tiny")
	require.NoError(t, err)
	all, err := mutantsOf(root, "tiny.go")
	require.NoError(t, err)
	numbered(all)
	w, err := newWorkshop(t.Context(), root, all)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.close()) })
	return &court{
		workshop: w, duration: time.Second, grace: time.Minute, withTests: true, simulate: suite{pkg: "./simulate"},
		suites: func(string) []suite { return []suite{{pkg: "."}} },
	}, all
}

// only returns the mutants that make this of a line.
func only(t *testing.T, all []mutant, to ...string) (some []mutant) {
	t.Helper()
	for i := range all {
		for _, want := range to {
			if all[i].To == want {
				some = append(some, all[i])
			}
		}
	}
	require.Len(t, some, len(to))
	return some
}

// TestJudge: it is told who kills a mutant, and which survive.
func TestJudge(t *testing.T) {
	c, all := tinyCourt(t)
	want := map[string]result{
		"if n < 0 && n > limit && true {":  {Verdict: simulator, How: "breaks G1"},
		"return max(max(n, 0), limit)":     {Verdict: simulator, How: "breaks G1"},
		"if n < 0 || n > limit && false {": {Verdict: tests, How: "--- FAIL: TestClamp", Runs: 7},
		"if n <= 0 || n > limit && true {": {Verdict: survived, Runs: 7},
	}
	var to []string
	for line := range want {
		to = append(to, line)
	}
	chosen := only(t, all, to...)
	done, err := openResults("", "1s")
	require.NoError(t, err)
	require.NoError(t, c.acquit(t.Context(), io.Discard, chosen, done))
	require.NoError(t, c.judgeAll(t.Context(), io.Discard, chosen, 2, done))
	results := done.of(chosen)
	require.Len(t, results, len(want))
	for _, r := range results {
		w := want[r.To]
		assert.Equal(t, []any{w.Verdict, w.How, w.Runs}, []any{r.Verdict, r.How, r.Runs}, r.To)
	}
}

// TestJudge_Quick: the tests come first if they are to.
func TestJudge_Quick(t *testing.T) {
	c, all := tinyCourt(t)
	c.quick = true
	r, err := c.judge(t.Context(), &only(t, all, "return max(max(n, 0), limit)")[0], c.suites(""))
	require.NoError(t, err)
	assert.Equal(t, tests, r.Verdict)
	c.quick, c.duration = false, 0
	assert.Equal(t, []stage{{c.suites("")[0], tests, testLimit + c.grace, []string{"-test.failfast", "-test.short", "-test.timeout", "0"}}}, c.stages(c.suites("")))
}

// TestJudge_Hangs: a mutant that never ends is killed.
func TestJudge_Hangs(t *testing.T) {
	c, all := tinyCourt(t)
	c.grace = time.Second
	r, err := c.judge(t.Context(), &only(t, all, "n -= 2")[0], nil)
	require.NoError(t, err)
	assert.Equal(t, simulator, r.Verdict)
	assert.Equal(t, "it hangs", r.How)
	assert.GreaterOrEqual(t, r.Seconds, (c.duration + c.grace).Seconds())
}

// TestJudge_NotCompiled: a mutant that does not compile is nobody's merit.
func TestJudge_NotCompiled(t *testing.T) {
	c, all := tinyCourt(t)
	m := all[0]
	m.with = "nothing"
	r, err := c.judge(t.Context(), &m, nil)
	require.NoError(t, err)
	assert.Equal(t, notCompiled, r.Verdict)
	assert.Contains(t, r.How, "tiny.go:")
}

// TestAcquit: what kills the code as it is says nothing of mutants.
func TestAcquit(t *testing.T) {
	c, all := tinyCourt(t)
	c.simulate.pkg = "./nowhere"
	done, err := openResults("", "1s")
	require.NoError(t, err)
	assert.ErrorContains(t, c.acquit(t.Context(), io.Discard, all, done), "the code as it is does not pass: not compiled")
}

// TestResults: a run goes on where the one before it stopped, if it simulates as long.
func TestResults(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results")
	one := &result{mutant: mutant{id: id{File: "a.go", From: "x"}, Kind: statement}, Manner: "1m0s", Verdict: survived}
	first, err := openResults(name, "1m0s")
	require.NoError(t, err)
	require.NoError(t, first.add(one))
	require.NoError(t, first.close())
	for duration, has := range map[string]bool{"1m0s": true, "2m0s": false} {
		again, err := openResults(name, duration)
		require.NoError(t, err)
		assert.Equal(t, has, again.has(one.id))
		require.NoError(t, again.close())
	}
}

func TestSummary(t *testing.T) {
	of := func(name string, v verdict, seconds float64) *result {
		return &result{mutant: mutant{id: id{File: "a.go", Func: "f", From: name}, Kind: statement, Line: 1}, Verdict: v, Seconds: seconds}
	}
	all := []*result{
		of("a", notCompiled, 0), of("b", simulator, 1), of("c", simulator, 2), of("d", simulator, 9),
		of("e", tests, 3), of("f", survived, 0), of("g", survived, 0),
	}
	known := map[id]string{all[5].id: "it only counts", all[4].id: "it does no harm", {File: "gone.go"}: "long ago"}
	mutants := make([]mutant, 0, len(all))
	for _, r := range all {
		mutants = append(mutants, r.mutant)
	}
	s := summarize(all, known, mutants)
	assert.False(t, s.ok())
	var out bytes.Buffer
	s.print(&out, known, true)
	assert.Equal(t, `survived: a.go:1 f: statement
  - g
  + 
survived, as is known: a.go:1 f: statement
  - f
  + 
  it only counts
listed as a survivor, but killed by the tests (): a.go:1 f: statement
  - e
  + 
listed as a survivor, but no mutant any more: gone.go 
  - 
  + 
7 mutants, of which 1 did not compile
3 killed by the simulator, after 2.0 s in the median
1 killed by the tests, after 3.0 s in the median
2 survived, 1 of them as is known
50.0 % killed by the simulator, 66.7 % in all
`, out.String())
	assert.True(t, summarize(all[:4], nil, mutants).ok())
}
