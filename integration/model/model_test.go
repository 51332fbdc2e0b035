package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestModels searches every model at its small sizes: nothing is found with all rules in
// force, and something is without any one of them. "make model" does so at full size.
func TestModels(t *testing.T) {
	models, err := readModels(files)
	require.NoError(t, err)
	require.NotEmpty(t, models)
	for _, m := range models {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range m.proofs(false) {
				_, err := s.prove(t.Context())
				assert.NoError(t, err)
			}
		})
		for _, left := range m.rules {
			t.Run(m.name+" without "+left.name, func(t *testing.T) {
				t.Parallel()
				_, err := m.without(t.Context(), left, plan{quick: true})
				assert.NoError(t, err)
			})
		}
	}
}

// TestModels_Page holds the tables of rules against models, tests and the design, and
// requires that the page has what was found without each rule.
func TestModels_Page(t *testing.T) {
	models, err := readModels(files)
	require.NoError(t, err)
	assert.NoError(t, checkRules("../..", models))
	page, err := os.ReadFile("../../docs/models.md")
	require.NoError(t, err)
	for _, m := range models {
		for _, r := range m.rules {
			there := strings.Contains(string(page), "\n### "+m.name+" "+r.name+"\n\nRule: "+r.text+".\n")
			assert.True(t, there, "the page has nothing of %s in %s: run make model", r.name, m.name)
		}
	}
}
