package servers

import (
	"context"
	"os"
	"strconv"
	"testing"
)

// Memcached starts a memcached for the test; see [StartMemcached].
func Memcached(t testing.TB, args ...string) *Process {
	t.Helper()
	server, err := StartMemcached(t.Context(), args...)
	return inTest(t, server, err)
}

// StartMemcached starts a memcached. Further arguments are those of memcached:
// "-I", "8m" raises the largest item, "-m", "16" sets the megabytes that it
// uses.
func StartMemcached(ctx context.Context, args ...string) (*Process, error) {
	return startProcess(ctx, program{
		name: "memcached",
		args: func(port int, _ string) []string {
			return append(memcachedArgs(port), args...)
		},
		request:  "stats\r\n",
		pidLabel: "STAT pid ",
	})
}

// memcachedArgs names the user when it is root, because memcached runs as root
// only when told so.
func memcachedArgs(port int) []string {
	args := []string{"-l", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "0"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root")
	}
	return args
}
