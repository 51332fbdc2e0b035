package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const prometheusConfig = "prometheus.yml"

// Prometheus starts a Prometheus for the test; see [StartPrometheus].
func Prometheus(t testing.TB, config string) *Process {
	t.Helper()
	server, err := StartPrometheus(t.Context(), config)
	return inTest(t, server, err)
}

// StartPrometheus starts a Prometheus with the text of a configuration file, in which paths are
// absolute. What it has survives a Restart.
func StartPrometheus(ctx context.Context, config string) (*Process, error) {
	return startProcess(ctx, program{
		name: "prometheus",
		prepare: func(_ context.Context, as runner) error {
			return os.WriteFile(filepath.Join(as.dir, prometheusConfig), []byte(config), 0o600)
		},
		args: func(port int, dir string) []string {
			return []string{
				"--config.file=" + filepath.Join(dir, prometheusConfig), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
				"--web.listen-address=" + loopback(port), "--log.level=warn",
			}
		},
		pid: prometheusPID,
	})
}

// prometheusPID asks a Prometheus that is ready in which directory it runs. A directory is that of
// one child alone.
func prometheusPID(addr, dir string, child int) (int, error) {
	client := http.Client{Timeout: answerTimeout}
	ready, err := client.Get("http://" + addr + "/-/ready")
	if err != nil {
		return 0, err
	}
	_ = ready.Body.Close()
	if ready.StatusCode != http.StatusOK {
		return 0, errors.New("not ready")
	}
	response, err := client.Get("http://" + addr + "/api/v1/status/runtimeinfo")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var info struct {
		Data struct {
			CWD string `json:"CWD"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&info); err != nil {
		return 0, err
	}
	if info.Data.CWD != dir {
		return 0, fmt.Errorf("it runs in %s", info.Data.CWD)
	}
	return child, nil
}
