package integration_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDependabot: new versions of dependencies are looked for in each module of the repository.
func TestDependabot(t *testing.T) {
	var modules []string
	require.NoError(t, fs.WalkDir(os.DirFS(".."), ".", func(file string, d fs.DirEntry, err error) error {
		if d.IsDir() && d.Name() == "testdata" {
			return fs.SkipDir
		}
		if d.Name() == "go.mod" {
			modules = append(modules, path.Join("/", path.Dir(file)))
		}
		return err
	}))
	config, err := os.ReadFile("../.github/dependabot.yml")
	require.NoError(t, err)
	var watched []string
	for _, m := range regexp.MustCompile(`(?m)^ +- (/\S*)$`).FindAllStringSubmatch(string(config), -1) {
		watched = append(watched, m[1])
	}
	slices.Sort(modules)
	slices.Sort(watched)
	assert.Equal(t, modules, watched)
}
