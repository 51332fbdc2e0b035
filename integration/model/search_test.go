package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tiny is a model of two processes that add one to a number, each in two steps unless
// STEP is in force, and of one that waits for that. ENDS keeps it from going on for ever.
const tiny = `// model: tiny
// covers: a number
// omits: everything else
// promises: both are counted
// progress: over
// small: BY=1
// full: BY=2
// rule STEP: one step adds
// spare TIDY: what is not needed is 0
// why TIDY: nothing reads it
// live ENDS: it is over in the end
byte number, done; bool over;
proctype Adder() {
	byte seen;
	if
	:: STEP -> atomic { number = number + BY; done++; printf("adds\n") }
	:: else -> // never: one step adds
		atomic { seen = number; printf("reads %d\n", seen) } // never: likewise
		atomic { number = seen + BY; done++; seen = (TIDY -> 0 : seen); printf("writes %d\n", number) } // never: likewise
	fi
}
proctype Judge() {
	atomic { done == 2 -> assert(number == 2 * BY) }
	do
	:: over -> break
	:: ENDS && !over -> over = true; printf("over\n")
	:: !ENDS -> printf("goes on\n") // never: it ends
	od
}
ltl over { <>over }
init { atomic { run Adder(); run Adder(); run Judge() } }
`

func parse(t *testing.T, source string) *model {
	t.Helper()
	m, err := parseModel("tiny.pml", source)
	require.NoError(t, err)
	return m
}

func TestSearch(t *testing.T) {
	m := parse(t, tiny)
	var all []*result
	for _, s := range m.proofs(false) {
		r, err := s.prove(t.Context())
		require.NoError(t, err)
		assert.Positive(t, r.states)
		assert.Positive(t, r.depth)
		all = append(all, r)
	}
	assert.Len(t, all, 2)
	assert.NoError(t, m.unexplained(all))

	results, err := m.without(t.Context(), m.rules[0], plan{full: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"reads 0", "reads 0", "writes 1", "writes 1"}, results[0].steps)
	for _, left := range m.rules[1:] {
		_, err := m.without(t.Context(), left, plan{})
		require.NoError(t, err, left.name)
	}

	m.rules[0].kind = spare
	_, err = m.without(t.Context(), m.rules[0], plan{})
	require.ErrorContains(t, err, "said to be spare")
	m.rules[1].kind = needed
	_, err = m.without(t.Context(), m.rules[1], plan{})
	require.ErrorContains(t, err, "nothing is found without rule TIDY")
}

// TestSearch_Fails: nothing passes for a search that was none, or that found something.
func TestSearch_Fails(t *testing.T) {
	for name, test := range map[string]struct {
		old, now, want string
		live           bool
	}{
		"promise":     {"number = number + BY;", "number = BY;", "a promise is broken", false},
		"stuck":       {"done == 2 ->", "done == 3 ->", "gets stuck", false},
		"no Promela":  {"byte number", "bite number", "spin -a", false},
		"array":       {"byte number", "byte places[2]; byte number", "did not come to its end", false},
		"comes never": {":: ENDS && !over -> over = true;", ":: ENDS && !over -> skip;", "a promise is broken", true},
	} {
		t.Run(name, func(t *testing.T) {
			source := strings.Replace(tiny, test.old, test.now, 1)
			if name == "array" {
				source = strings.Replace(source, "atomic { number", "atomic { places[done + 1] = 1; number", 1)
			}
			_, err := search{m: parse(t, source), sizes: "BY=1", live: test.live}.prove(t.Context())
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestModel_Unexplained(t *testing.T) {
	m := parse(t, tiny)
	line := func(text string) int { return 1 + strings.Count(tiny[:strings.Index(tiny, text)], "\n") }
	excused := place{process: "Judge", state: 9, line: line(":: !ENDS"), text: "(0)"}
	other := place{process: "Judge", state: 7, line: line(":: over"), text: "over"}
	assert.NoError(t, m.unexplained([]*result{{unreached: []place{excused, other}}, {unreached: []place{excused}}}))
	err := m.unexplained([]*result{{unreached: []place{excused, other}}, {unreached: []place{other, other}}})
	assert.ErrorContains(t, err, "never reached, and no reason given: over")
}

// TestSearch_Read: what a search prints that was cut off, or that nobody understands, is an
// error.
func TestSearch_Read(t *testing.T) {
	const whole = "State-vector 28 byte, depth reached 7, errors: 0\n       46 states, stored\n"
	s := search{m: parse(t, tiny)}
	r, err := s.read(whole + "unreached in proctype Adder\n\ttiny.pml:17, state 3, \"x = 1\"\nunreached in claim over\n\t_spin_nvr.tmp:3, state 5, \"(1)\"\n")
	require.NoError(t, err)
	assert.Equal(t, 46, r.states)
	assert.Equal(t, 7, r.depth)
	assert.Equal(t, []place{{process: "Adder", state: 3, line: 17, text: "x = 1"}}, r.unreached)
	for _, out := range []string{
		"", "46 states, stored\n", "depth reached 7, errors: 0\n",
		whole + "error: max search depth too small\n",
		whole + "pan: reached -DMEMLIM bound\n",
		whole + "pan: out of memory\n",
		whole + "Warning: Search not completed\n",
		whole + "pan:1: invalid end state (at depth 4)\n",
	} {
		_, err := s.read(out)
		assert.Error(t, err, "%q", out)
	}
}

// TestSearch_NoSpin: without SPIN a search fails and names what to run.
func TestSearch_NoSpin(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := parse(t, tiny).proofs(false)[0].run(t.Context())
	assert.ErrorContains(t, err, "make deps")
}

func TestModel_Header(t *testing.T) {
	for name, test := range map[string]struct{ old, now string }{
		"nothing promised":     {"// promises: both are counted\n", ""},
		"unknown word":         {"// omits:", "// forgets:"},
		"twice":                {"// rule STEP: one step adds\n", "// rule STEP: one step adds\n// rule STEP: again\n"},
		"no sizes":             {"// small: BY=1\n", ""},
		"no colon":             {"// full: BY=2\n", "// full\n"},
		"a size that is not":   {"// rule STEP:", "// rule STEP at 2:"},
		"a size that is no":    {"// rule STEP:", "// rule STEP at x:"},
		"spare for no reason":  {"// why TIDY: nothing reads it\n", ""},
		"a reason of another":  {"// why TIDY:", "// why STEP:"},
		"nothing is to come":   {"// progress: over\n", ""},
		"a name that is twice": {"// model: tiny\n", "// model: tiny\n// model: small\n"},
	} {
		_, err := parseModel("tiny.pml", strings.Replace(tiny, test.old, test.now, 1))
		assert.Error(t, err, name)
	}
	m := parse(t, strings.Replace(tiny, "// rule STEP:", "// rule STEP at 1:", 1))
	assert.Equal(t, rule{name: "STEP", text: "one step adds", kind: needed, at: 1}, m.rules[0])
	assert.Equal(t, []string{"-DBY=1", "-DSTEP=0", "-DTIDY=1", "-DENDS=1"}, search{m: m, sizes: "BY=1", off: "STEP"}.defines())
}

// TestRules: the tables of rules fail when a rule stands alone.
func TestRules(t *testing.T) {
	m := parse(t, tiny)
	page := tables("| adds | [a](#tiny-step), [b](#tiny-tidy), [c](#tiny-ends) | |\n")
	design := "(models.md#tiny-step) (models.md#tiny-tidy) (models.md#tiny-ends)"
	tests := []string{"TestA"}
	require.NoError(t, checkTables(page, design, []*model{m}, tests))
	for want, rows := range map[string]string{
		"neither a model nor a test": "| adds | [a](#tiny-step), [b](#tiny-tidy), [c](#tiny-ends) | |\n| alone | | |\n",
		"no model has the rule":      "| adds | [a](#tiny-step), [b](#tiny-tidy), [c](#tiny-ends), [d](#tiny-gone) | |\n",
		"no row has the rule":        "| adds | [a](#tiny-step), [b](#tiny-tidy) | |\n",
		"there is no test":           "| adds | [a](#tiny-step), [b](#tiny-tidy), [c](#tiny-ends) | `TestB` |\n",
	} {
		assert.ErrorContains(t, checkTables(tables(rows), design, []*model{m}, tests), want)
	}
	assert.ErrorContains(t, checkTables(page, "", []*model{m}, tests), "no link")
	assert.ErrorContains(t, checkTables("## Rules\n"+rulesEnd, design, []*model{m}, tests), "no row has hazard 20")
	assert.Error(t, checkTables("", design, []*model{m}, tests))
}

// tables is a page with these rows, and one for each hazard.
func tables(rows string) string {
	var b strings.Builder
	b.WriteString(rulesBegin + "| rule | model | shown by |\n|---|---|---|\n" + rows)
	for n := range hazards {
		fmt.Fprintf(&b, "| hazard %d: x | | `TestA` |\n", n+1)
	}
	b.WriteString(rulesEnd)
	return b.String()
}
