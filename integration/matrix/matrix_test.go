package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func TestWhoSays(t *testing.T) {
	t.Parallel()
	for want, info := range map[string]string{
		"Redis 7.0.15":     "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n",
		"Valkey 9.1.2":     "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n",
		"Redict 7.3.6":     "redict_version:7.3.6\r\nredict_mode:standalone\r\nredis_version:7.2.4\r\n",
		"KeyDB 6.3.4":      "redis_version:6.3.4\r\n# KeyDB\r\nmvcc_depth:0\r\n",
		"Dragonfly 1.34.0": "redis_version:7.4.0\r\ndragonfly_version:df-v1.34.0\r\n",
		"Garnet 1.0.80":    "redis_version:7.4.3\r\ngarnet_version:1.0.80\r\n",
		"kvrocks 2.12.1":   "version:2.12.1\r\nkvrocks_version:2.12.1\r\nredis_version:4.0.0\r\n",
	} {
		got, err := whoSays(info)
		require.NoError(t, err)
		assert.Equal(t, want, got.String())
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	_, err := whoSays("redis_version:5.0.14\r\n")
	require.ErrorIs(t, err, errTooOld)
	assert.EqualError(t, err, "is Redis 5.0.14, too old: nearbus needs 6.0 or later")
	require.ErrorIs(t, server{"Memcached", "1.5.22"}.check(), errTooOld)
	assert.NoError(t, server{"Memcached", "1.6.18"}.check())
	for _, none := range []string{"", "role:master\r\n", "redis_version:unknown\r\n"} {
		_, err := whoSays(none)
		assert.ErrorContains(t, err, "which is none")
	}
}

// TestRun_WrongPrograms: nothing is built or tested.
func TestRun_WrongPrograms(t *testing.T) {
	for _, variable := range []string{servers.RedisVariable, servers.MemcachedVariable} {
		t.Setenv(variable, "") // run changes it
	}
	none := ""
	missing := filepath.Join(t.TempDir(), "valkey-server")
	err := run(t.Context(), map[string]*string{"redis": &missing, "memcached": &none}, "")
	assert.ErrorContains(t, err, missing)
	assert.ErrorIs(t, err, os.ErrNotExist)
	ends := "false"
	err = run(t.Context(), map[string]*string{"redis": &none, "memcached": &ends}, "")
	assert.ErrorContains(t, err, "matrix: false: servers: start false: process ended")
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := read(strings.NewReader(`
{"Action":"start"}
{"Action":"run","Test":"TestA"}
{"Action":"run","Test":"TestA/one"}
{"Action":"run","Test":"TestA/two"}
{"Action":"run","Test":"TestA/two/deep"}
{"Action":"pass","Test":"TestA/one"}
{"Action":"output","Test":"TestA/two/deep","Output":"boom\n"}
{"Action":"fail","Test":"TestA/two/deep"}
{"Action":"fail","Test":"TestA/two"}
{"Action":"fail","Test":"TestA"}
{"Action":"run","Test":"TestB"}
{"Action":"pass","Test":"TestB"}
{"Action":"run","Test":"TestSkips"}
{"Action":"skip","Test":"TestSkips"}
{"Action":"run","Test":"TestNeverEnds"}
{"Action":"fail"}
`))
	require.NoError(t, err)
	assert.Equal(t, result{passed: 2, cases: 5, failed: []string{"TestA", "TestSkips", "TestNeverEnds"}}, got)
	assert.Equal(t, "2 of 5", got.String())
	_, err = read(strings.NewReader("no events"))
	assert.Error(t, err)
}

// TestRead_ATestFailsByItself: a test whose parts all pass can fail all the same.
func TestRead_ATestFailsByItself(t *testing.T) {
	t.Parallel()
	got, err := read(strings.NewReader(`
{"Action":"run","Test":"TestA"}
{"Action":"run","Test":"TestA/one"}
{"Action":"pass","Test":"TestA/one"}
{"Action":"fail","Test":"TestA"}
`))
	require.NoError(t, err)
	assert.Equal(t, result{passed: 1, cases: 1, failed: []string{"TestA"}}, got)
}

func TestWrite(t *testing.T) {
	t.Parallel()
	two := &table{name: "some", suites: []suite{{name: "store"}, {name: "bus"}}}
	page := filepath.Join(t.TempDir(), "page.md")
	write := func(server, date string, results ...result) {
		r := row{server: server, date: date}
		for _, result := range results {
			r.add(result)
		}
		require.NoError(t, two.write(page, r))
	}
	const before, after = "# Title\n\n<!-- some: begin -->\n", "<!-- some: end -->\n\nMore.\n"
	require.NoError(t, os.WriteFile(page, []byte(before+`| server | store | bus | failed | date |
|---|---|---|---|---|
| Redis 7.0.15 | 1 | 1 | none | 2026-01-01 |
| Redis 7.2 | | | | not run |
| Redis 8.2 | | | | not run |
| KeyDB | | | | not run |
`+after), 0o600))
	good, bad := result{passed: 4, cases: 4}, result{passed: 1, cases: 3, failed: []string{"TestA", "TestB"}}
	write("Redis 7.10.1", "2026-02-01", good, good)
	write("Redis 7.2.11", "2026-02-01", good, bad)
	write("Redis 7.0.15", "2026-02-01", good, good)
	write("KeyDB 6.3.4", "2026-02-01", bad, bad)
	write("Valkey 9.1.2", "2026-02-01", good, good)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, before+`| server | store | bus | failed | date |
|---|---|---|---|---|
| Redis 7.0.15 | 4 | 4 | none | 2026-02-01 |
| Redis 7.2.11 | 4 | 1 of 3 | `+"`TestA`, `TestB`"+` | 2026-02-01 |
| Redis 7.10.1 | 4 | 4 | none | 2026-02-01 |
| Redis 8.2 |  |  |  | not run |
| KeyDB 6.3.4 | 1 of 3 | 1 of 3 | `+"`TestA`, `TestB`"+` | 2026-02-01 |
| Valkey 9.1.2 | 4 | 4 | none | 2026-02-01 |
`+after, string(text))

	require.NoError(t, os.WriteFile(page, []byte("# Title\n"), 0o600))
	require.ErrorIs(t, two.write(page, row{}), errNoPlace)
}

// TestSuites: each alternative of a suite names tests that are there, and each test of a server
// is in a suite.
func TestSuites(t *testing.T) {
	t.Parallel()
	declared := declaredTests(t)
	inSuite := make(map[string]bool)
	for _, table := range all {
		for _, suite := range table.suites {
			for alternative := range strings.SplitSeq(suite.tests, "|^") {
				top, _, _ := strings.Cut("^"+strings.TrimPrefix(alternative, "^"), "/")
				found := false
				for _, test := range declared {
					if regexp.MustCompile(top).MatchString(test) {
						found, inSuite[test] = true, true
					}
				}
				assert.True(t, found, "%s: %s", suite.name, alternative)
			}
		}
	}
	ofAServer := regexp.MustCompile(`^Test(Store_|RedisStore|RedisJournal|MemcachedStore|Cluster|Sentinel|Rights_(Redis|Memcached))`)
	others := map[string]bool{"TestStore_Shards": true} // of both servers
	for _, test := range declared {
		if ofAServer.MatchString(test) && !others[test] {
			assert.True(t, inSuite[test], test)
		}
	}
}

func declaredTests(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../*_test.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	declaration := regexp.MustCompile(`(?m)^func (Test\w*)\(t `)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range declaration.FindAllStringSubmatch(string(source), -1) {
			names = append(names, match[1])
		}
	}
	return names
}

// TestPage: the page has the suites, its rows are of known form, and each server of the hosted
// job has a row.
func TestPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/servers.md")
	require.NoError(t, err)
	declared := declaredTests(t)
	var rows []row
	for _, table := range all {
		_, text, _, err := table.place(string(page))
		require.NoError(t, err)
		here, err := table.rows(text)
		require.NoError(t, err)
		assert.Equal(t, table.text(here), text)
		for _, suite := range table.suites {
			assert.Contains(t, string(page), "\n| `"+suite.name+"` | ")
		}
		rows = append(rows, here...)
	}
	for _, row := range rows {
		assert.Regexp(t, `^\d{4}-\d\d-\d\d$|^not run$`, row.date, row.server)
		for _, name := range row.fails {
			assert.Contains(t, declared, strings.Trim(name, "`"), row.server)
		}
	}
	workflow, err := os.ReadFile("../../.github/workflows/servers.yml")
	require.NoError(t, err)
	hosted := regexp.MustCompile(`\{ server: ([^,]+),`).FindAllStringSubmatch(string(workflow), -1)
	require.NotEmpty(t, hosted)
	for _, match := range hosted {
		assert.True(t, func() bool {
			for _, row := range rows {
				if row.server == match[1] || strings.HasPrefix(row.server, match[1]+" ") || strings.HasPrefix(row.server, match[1]+".") {
					return true
				}
			}
			return false
		}(), "no row of %s", match[1])
	}
}
