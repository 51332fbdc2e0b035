package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runModule writes a module with one package per test file and returns what
// testing it prints.
func runModule(t *testing.T, files map[string]string) (ok bool, printed string) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example\n\ngo 1.26.0\n"
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	var out strings.Builder
	report := newReport(&out)
	if err := testModule(report, dir, []string{"-shuffle=on"}); err != nil {
		report.fail(err.Error())
	}
	return report.close(), out.String()
}

func testFile(body string) string {
	return "package p\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n\nvar _ testing.TB\n\n" + body
}

func lastLine(printed string) string {
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	return lines[len(lines)-1]
}

func TestReport_ClosingLineAndVerdict(t *testing.T) {
	t.Parallel()
	const passes = "func TestPass(t *testing.T) { t.Log(\"noise\"); t.Run(\"sub\", func(*testing.T) {}) }\n"
	for name, c := range map[string]struct {
		body, closing, shows string
		ok                   bool
	}{
		"all pass": {
			passes, "2 passed, 0 failed, 0 skipped", "ok    example/p", true,
		},
		"a subtest fails": {
			passes + "func TestFail(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"boom\") }) }",
			"2 passed, 2 failed, 0 skipped", "boom", false,
		},
		"a test is skipped": {
			passes + "func TestSkip(t *testing.T) { t.Skip(\"no server\") }",
			"2 passed, 0 failed, 1 skipped", "no server", false,
		},
		"a test panics": {
			"func TestPanic(*testing.T) { panic(\"boom\") }",
			"0 passed, 1 failed, 0 skipped", "panic: boom", false,
		},
		"the package ends early": {
			"func TestMain(*testing.M) { os.Exit(3) }",
			"0 passed, 1 failed, 0 skipped", "exit status 3", false,
		},
		"the package does not build": {
			"func TestBuild(*testing.T) { undefined() }",
			"0 passed, 1 failed, 0 skipped", "undefined: undefined", false,
		},
		"there is no test": {
			"", "0 passed, 0 failed, 0 skipped", "", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ok, printed := runModule(t, map[string]string{"p/p_test.go": testFile(c.body)})
			assert.Equal(t, c.ok, ok)
			assert.Equal(t, c.closing, lastLine(printed))
			assert.Contains(t, printed, c.shows)
			assert.NotContains(t, printed, "noise")
		})
	}
}

// TestReport_SomePackages: only these are tested, and their time has a line.
func TestReport_SomePackages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example\n\ngo 1.26.0\n"), 0o600))
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		body := testFile("func TestPass(*testing.T) {}\n")
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "p_test.go"), []byte(body), 0o600))
	}
	var out strings.Builder
	report := newReport(&out)
	require.NoError(t, testModule(report, dir+",,./a ./c", nil))
	report.took(dir+",,./a ./c", 90*time.Second)
	assert.True(t, report.close())
	assert.Equal(t, "2 passed, 0 failed, 0 skipped", lastLine(out.String()))
	assert.Contains(t, out.String(), "time    90.0s  "+filepath.Base(dir)+"\n")
	assert.NotContains(t, out.String(), "example/b")
	assert.Error(t, testModule(report, dir+",, ", nil), "no packages")
}

func TestReport_CountsAModuleThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	ok, printed := runModule(t, map[string]string{"p/p.go": "package p\n\nimport _ \"example/missing\"\n"})
	assert.False(t, ok)
	assert.Equal(t, "0 passed, 1 failed, 0 skipped", lastLine(printed))
}

// TestReport_RaceDetectorGivesUp: a package is tested again if the race
// detector itself failed, and never if a test did.
func TestReport_RaceDetectorGivesUp(t *testing.T) {
	t.Parallel()
	const givesUp = `func TestPass(*testing.T) {}
func TestMain(m *testing.M) {
	code := m.Run()
	file, err := os.OpenFile("times", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil { panic(err) }
	file.WriteString("x")
	if times, _ := os.ReadFile("times"); len(times) <= limit {
		println("\nThreadSanitizer: CHECK failed: tsan_rtl.cpp:346")
		os.Exit(66)
	}
	os.Exit(code)
}
`
	for name, c := range map[string]struct {
		more, closing string
		ok            bool
	}{
		"once":   {"const limit = 1", "1 passed, 0 failed, 0 skipped", true},
		"thrice": {"const limit = 3", "1 passed, 0 failed, 0 skipped", true},
		"always": {"const limit = 4", "1 passed, 1 failed, 0 skipped", false},
		"after a test that failed": {
			"const limit = 1\nfunc TestFail(t *testing.T) { t.Error(\"boom\") }", "1 passed, 1 failed, 0 skipped", false,
		},
		"after it found a race": {
			"const limit = 1\nfunc TestRace(*testing.T) { println(\"WARNING: DATA RACE\") }", "2 passed, 1 failed, 0 skipped", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ok, printed := runModule(t, map[string]string{"p/p_test.go": testFile(givesUp + c.more)})
			assert.Equal(t, c.ok, ok)
			assert.Equal(t, c.closing, lastLine(printed), printed)
			assert.Contains(t, printed, detectorFailed)
		})
	}
}
