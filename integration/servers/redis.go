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
	return startProcess(ctx, redisProgram(
		func(dir string) ([]string, error) { return clockAhead(dir, ahead) },
		func(port int, dir string) []string { return append(redisArgs(port, dir), args...) },
	))
}

// RedisTLS starts a redis-server for the test that also listens on an address
// where connections are encrypted and clients need a certificate.
func RedisTLS(t testing.TB, c *Certificates, args ...string) (server *Process, secure string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--tls-port", strconv.Itoa(port), "--tls-auth-clients", "yes",
		"--tls-cert-file", c.ServerCert, "--tls-key-file", c.ServerKey, "--tls-ca-cert-file", c.Authority,
	}, args...)
	return Redis(t, args...), loopback(port)
}
