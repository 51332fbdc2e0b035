package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shown is a mutant in one line.
func shown(m *mutant) string { return string(m.Kind) + ": " + m.From + " => " + m.To }

// changes returns the mutants of a function in Go with this body, shown.
func changes(t *testing.T, body string) (all []string) {
	t.Helper()
	source := []byte("package p\n\nfunc (c *Cache[V]) f(n int) {\n" + body + "\n}\n")
	edits, err := goEdits(source)
	require.NoError(t, err)
	some := named("p.go", source, edits)
	for i := range some {
		assert.Equal(t, "Cache.f", some[i].Func)
		all = append(all, shown(&some[i]))
	}
	return all
}

func TestMutants_Kinds(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"comparisons": {"x := a < b == (c >= d)", []string{
			"comparison: x := a < b == (c >= d) => x := a <= b == (c >= d)",
			"comparison: x := a < b == (c >= d) => x := a < b != (c >= d)",
			"comparison: x := a < b == (c >= d) => x := a < b == (c > d)",
		}},
		"conditions": {"if ok {\nx := 0\n}", []string{
			"negation: if ok { => if !(ok) {", "constant: x := 0 => x := 1",
		}},
		"a comparison is not negated twice": {"if a == b {\n}", []string{"comparison: if a == b { => if a != b {"}},
		"cases": {"switch {\ncase a < b:\n}", []string{
			"negation: case a < b: => case !(a < b):", "comparison: case a < b: => case a <= b:",
		}},
		"logic":    {"x := a && b || c", []string{"logic: x := a && b || c => x := a || b || c", "logic: x := a && b || c => x := a && b && c"}},
		"extremes": {"x := min(a, max(b, c))", []string{"extreme: x := min(a, max(b, c)) => x := max(a, max(b, c))", "extreme: x := min(a, max(b, c)) => x := min(a, min(b, c))"}},
		"words":    {"x := true", []string{"truth: x := true => x := false"}},
		"statements": {"a()\nx = y\nx++\ngo b()\ndefer c()\nreturn", []string{
			"statement: a() => ", "statement: x = y => ", "statement: x++ => ", "statement: go b() => ",
			"statement: defer c() => ", "statement: return => ",
		}},
		"in functions of functions": {"a(func() bool {\nb()\nreturn true\n})", []string{
			"statement: a(func() bool { => ", "statement: b() => ", "truth: return true => return false",
		}},
		"loops":         {"for range n {\ncontinue\n}", []string{"statement: continue => "}},
		"what is quiet": {"c.mu.Lock()\ndefer c.mu.Unlock()\nc.opts.Logger.Warn(\"x\", 1)\nn.stale.Add(1)\nx := make([]int, 5)\nfmt.Println(3)", []string{"statement: fmt.Println(3) => "}},
	} {
		t.Run(name, func(t *testing.T) { assert.ElementsMatch(t, c.want, changes(t, c.body)) })
	}
}

// TestMutants_OfTheSameLook: two changes that look the same have two names.
func TestMutants_OfTheSameLook(t *testing.T) {
	source := []byte("package p\n\nfunc f() {\n\ta()\n\ta()\n}\n")
	edits, err := goEdits(source)
	require.NoError(t, err)
	some := named("p.go", source, edits)
	require.Len(t, some, 2)
	assert.Equal(t, []int{0, 1}, []int{some[0].Nth, some[1].Nth})
	assert.Equal(t, "package p\n\nfunc f() {\n\ta()\n\t\n}\n", string(some[1].apply(source)))
}

func TestMutants_OfScripts(t *testing.T) {
	script := []byte(strings.Join([]string{
		"-- if a == b then call('X')",
		"if a == '1 < 2' and b > 3 then", "  call('SET', KEYS[1])", "end",
		"local x = math.max(y, 1)", "x = y",
	}, "\n"))
	some := named("s.lua", script, luaEdits(script))
	var all []string
	for i := range some {
		all = append(all, shown(&some[i]))
	}
	assert.ElementsMatch(t, []string{
		"negation: if a == '1 < 2' and b > 3 then => if not (a == '1 < 2' and b > 3) then",
		"comparison: if a == '1 < 2' and b > 3 then => if a ~= '1 < 2' and b > 3 then",
		"logic: if a == '1 < 2' and b > 3 then => if a == '1 < 2' or b > 3 then",
		"comparison: if a == '1 < 2' and b > 3 then => if a == '1 < 2' and b >= 3 then",
		"constant: if a == '1 < 2' and b > 3 then => if a == '1 < 2' and b > 4 then",
		"statement: call('SET', KEYS[1]) => ",
		"constant: call('SET', KEYS[1]) => call('SET', KEYS[2])",
		"extreme: local x = math.max(y, 1) => local x = math.min(y, 1)",
		"constant: local x = math.max(y, 1) => local x = math.max(y, 2)",
		"statement: x = y => ",
	}, all)
}

// TestTargets: every file of a package has mutants, or a reason for having none.
func TestTargets(t *testing.T) {
	for _, target := range targets {
		listed := append([]string(nil), target.files...)
		for names := range target.left {
			listed = append(listed, words(names)...)
		}
		var there []string
		entries, err := os.ReadDir(filepath.Join("../..", target.dir))
		require.NoError(t, err)
		for _, e := range entries {
			if name := e.Name(); regexp.MustCompile(`\.(go|lua)$`).MatchString(name) && !strings.HasSuffix(name, "_test.go") {
				there = append(there, name)
			}
		}
		assert.ElementsMatch(t, there, listed, "%s: say in targets.go of each file whether it has mutants", target.dir)
	}
}

// TestChoose: a seed decides which mutants are judged, and in which order.
func TestChoose(t *testing.T) {
	all, err := allMutants("../..")
	require.NoError(t, err)
	require.Greater(t, len(all), 1000)
	clocks := regexp.MustCompile("clock")
	some := choose(all, clocks, 20, 1)
	assert.Len(t, some, 20)
	assert.Equal(t, some, choose(all, clocks, 20, 1))
	assert.NotEqual(t, some, choose(all, clocks, 20, 2))
	assert.Equal(t, some, choose(all, clocks, 30, 1)[:20])
	for i := range some {
		assert.Regexp(t, clocks, some[i].File)
	}
}

func TestSurvivors(t *testing.T) {
	known, err := parseSurvivors("# a comment\n\na.go T.f 1\n- x = y\n+\nbecause\n\nb.go g\n- a < b\n+ a <= b\nof speed\n")
	require.NoError(t, err)
	assert.Equal(t, map[id]string{
		{File: "a.go", Func: "T.f", From: "x = y", Nth: 1}:     "because",
		{File: "b.go", Func: "g", From: "a < b", To: "a <= b"}: "of speed",
	}, known)
	for _, bad := range []string{"a.go f\n- x\n+ y", "a.go\n- x\n+ y\nwhy", "a.go f one\n- x\n+ y\nwhy", "a.go f\n- x\n+ y\nwhy\n\na.go f\n- x\n+ y\nwhy"} {
		_, err := parseSurvivors(bad)
		assert.Error(t, err, bad)
	}
	_, err = parseSurvivors(survivorsText)
	assert.NoError(t, err)
}
