package servers

import (
	"context"
	"strconv"
	"testing"
	"time"
)

// Redis starts a redis-server for the test; see [StartRedis].
func Redis(t testing.TB, args ...string) *Process {
	t.Helper()
	server, err := StartRedis(t.Context(), args...)
	return inTest(t, server, err)
}

// StartRedis starts a redis-server that keeps its data in memory only. Further
// arguments are those of redis-server and override the defaults: "--appendonly",
// "yes" makes its data survive a Restart.
func StartRedis(ctx context.Context, args ...string) (*Process, error) {
	return StartRedisAt(ctx, 0, args...)
}

// StartRedisAt is StartRedis for a server whose clock is ahead by so much.
func StartRedisAt(ctx context.Context, ahead time.Duration, args ...string) (*Process, error) {
	return startProcess(ctx, program{
		name: "redis-server",
		env:  func(dir string) ([]string, error) { return clockAhead(dir, ahead) },
		args: func(port int, dir string) []string {
			return append([]string{
				"--bind", "127.0.0.1",
				"--port", strconv.Itoa(port),
				"--dir", dir,
				"--save", "",
			}, args...)
		},
		request:  "PING\r\nINFO server\r\n",
		pidLabel: "process_id:",
	})
}
