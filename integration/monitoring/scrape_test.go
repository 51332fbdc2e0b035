package monitoring_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

const patience = time.Minute

// service is a process of examples/userservice.
type service struct{ addr string }

// startService starts a process, and ends it with the test.
func startService(t *testing.T, program string, args ...string) service {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-child", "-listen", "127.0.0.1:0"}, args...)...)
	input, err := cmd.StdinPipe() // the process ends with it
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	return service{strings.TrimSpace(addr)}
}

// do makes a request, whatever the answer.
func (s service) do(ctx context.Context, method, path, body string) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// startServices starts three processes on real servers.
func startServices(t *testing.T) (all []service) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "userservice")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = "../../examples/userservice"
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	redis, nats := servers.Redis(t), servers.NATS(t)
	database := filepath.Join(t.TempDir(), "users.db")
	for range 3 {
		all = append(all, startService(t, program, "-redis", "redis://"+redis.Addr, "-nats", nats.URL, "-db", database))
	}
	return all
}

// TestScrape: a real Prometheus scrapes a fleet at work. Its linter is content with what it gets,
// and every expression of the dashboard and of the alerts brings something.
func TestScrape(t *testing.T) {
	t.Parallel()
	fleet := startServices(t)
	var targets []string
	for _, s := range fleet {
		targets = append(targets, s.addr)
	}
	rules, err := filepath.Abs(pages + "rules.yml")
	require.NoError(t, err)
	config, err := json.Marshal(map[string]any{ // which is YAML as well
		"global":         map[string]string{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{rules},
		"scrape_configs": []any{map[string]any{"job_name": "users", "static_configs": []any{map[string]any{"targets": targets}}}},
	})
	require.NoError(t, err)
	prometheus := servers.Prometheus(t, string(config))
	keepBusy(t, fleet)
	lint(t, fleet[0])
	for where, expr := range expressions(t) {
		var found int
		assert.Eventually(t, func() bool {
			found = query(t, prometheus.Addr, expr)
			return found > 0
		}, patience, 20*time.Millisecond, "%s brings nothing: %s", where, expr)
	}
	// A machine that is busy may alert of slowness; TestAlerts_CalmHour holds the others.
	const ofNoSpeed = `alertname=~"Nearbus(OtherTier|OptionsDiffer|Malformed|Corrupt|Unreadable|Panics|TooLarge|ObserverFails)"`
	assert.Zero(t, query(t, prometheus.Addr, `ALERTS{alertstate="firing",`+ofNoSpeed+`}`), "a healthy fleet alerts nobody")
}

// keepBusy reads and writes users until the test ends.
func keepBusy(t *testing.T, fleet []service) {
	t.Helper()
	var work sync.WaitGroup
	ctx, rest := context.WithCancel(context.Background())
	t.Cleanup(func() { rest(); work.Wait() })
	work.Go(func() { // ends with ctx
		for n := 0; ctx.Err() == nil; n++ {
			s, user := fleet[n%len(fleet)], fmt.Sprintf("/users/%d", n%7+1)
			err := s.do(ctx, http.MethodGet, user, "")
			if n%10 == 0 && err == nil {
				err = s.do(ctx, http.MethodPut, user, `{"name":"Ada"}`)
			}
			if ctx.Err() == nil && !assert.NoError(t, err) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// lint holds a scrape against the linter of Prometheus.
func lint(t *testing.T, s service) {
	t.Helper()
	response, err := http.Get("http://" + s.addr + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// query returns how many series an expression brings.
func query(t *testing.T, addr, expr string) int {
	t.Helper()
	response, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(expr))
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Empty(t, answer.Error, expr)
	return len(answer.Data.Result)
}
