package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// formatsBefore is the latest commit before a step of the formats of records or
// messages: processes of it and of now are in one fleet while that is deployed, and when
// it is taken back.
const formatsBefore = "f51392c2095800961a29b567945d5f9b5d69cc54"

// programOf builds this command as it was at a commit.
func programOf(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	archive, err := exec.Command("git", "-C", "../..", "archive", commit).Output()
	require.NoError(t, err, "the history of the repository is needed")
	require.NoError(t, unpack(archive, dir))
	program := filepath.Join(dir, "checker")
	build := exec.Command("go", "build", "-o", program, "./checker")
	build.Dir = filepath.Join(dir, "integration")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

func unpack(archive []byte, dir string) error {
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case header.Typeflag != tar.TypeReg:
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
}

// TestScenarios_MixedFleet: processes of the formats before and of now read what the
// others write, and hear what the others tell.
func TestScenarios_MixedFleet(t *testing.T) {
	t.Parallel()
	before := programOf(t, formatsBefore)
	for _, name := range []string{"none", "messages", "bus-half-open", "redis-disk"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := shortPlan(t, name)
			p.nodes, p.programs = 4, []string{before, "", before, ""}
			r, err := carryOut(t.Context(), p)
			require.NoError(t, err)
			v := &r.verdict
			assert.Positive(t, v.Reads)
			assert.Positive(t, v.Writes)
			assert.Zero(t, v.Violations(), "%d late, %d back, %d own writes missed, %d stale at rest; bound %v, worst %v: %+v",
				v.Late, v.Back, v.OwnMisses, v.StaleRest, r.bound, v.Quantile(1), v.Broken)
		})
	}
}
