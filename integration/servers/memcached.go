package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
		name: nameOf(MemcachedVariable, "memcached"), variable: MemcachedVariable,
		args: func(port int, _ string) []string {
			return append(memcachedArgs(port), args...)
		},
		request:  "stats\r\n",
		pidLabel: "STAT pid ",
	})
}

// memcachedArgs names the user when it is root, because memcached runs as root
// only when told so.
func memcachedArgs(port int) []string { return memcachedOn("127.0.0.1", port) }

func memcachedOn(listen string, port int) []string {
	args := []string{"-l", listen, "-p", strconv.Itoa(port), "-U", "0"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root")
	}
	return args
}

// MemcachedTLS starts a memcached for the test that also listens on an address
// where connections are encrypted, and knows one user.
func MemcachedTLS(t testing.TB, c *Certificates, user, password string) (server *Process, secure string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	users, secure := filepath.Join(t.TempDir(), "users"), loopback(port)
	if err := os.WriteFile(users, []byte(user+":"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	who := user + " " + password
	server, err = startProcess(t.Context(), program{
		name: nameOf(MemcachedVariable, "memcached"), variable: MemcachedVariable,
		args: func(port int, _ string) []string {
			return append(memcachedOn("notls:"+loopback(port)+","+secure, port), "-Y", users, "-Z",
				"-o", "ssl_chain_cert="+c.ServerCert, "-o", "ssl_key="+c.ServerKey)
		},
		request:  fmt.Sprintf("set auth 0 0 %d\r\n%s\r\nstats\r\n", len(who), who),
		pidLabel: "STAT pid ",
	})
	return inTest(t, server, err), secure
}
