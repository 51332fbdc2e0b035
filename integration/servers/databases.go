package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PostgreSQL starts a PostgreSQL for the test; see [StartPostgreSQL].
func PostgreSQL(t testing.TB, args ...string) *Process {
	t.Helper()
	server, err := StartPostgreSQL(t.Context(), args...)
	return inTest(t, server, err)
}

// StartPostgreSQL starts a PostgreSQL whose superuser is "postgres", without a password.
// What it has survives a Restart. Further arguments are those of postgres: "-c",
// "wal_level=logical".
func StartPostgreSQL(ctx context.Context, args ...string) (*Process, error) {
	return startProcess(ctx, program{
		name: "postgres",
		dirs: []string{"/usr/lib/postgresql/*/bin"},
		user: "postgres", // it refuses root
		prepare: func(ctx context.Context, as runner) error {
			return as.run(ctx, "initdb", "--no-sync", "--username=postgres", "--auth=trust",
				"--encoding=UTF8", "--locale=C", filepath.Join(as.dir, "data"))
		},
		args: func(port int, dir string) []string {
			return append([]string{
				"-D", filepath.Join(dir, "data"), "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1",
				"-c", "unix_socket_directories=" + dir, "-c", "max_connections=200",
			}, args...)
		},
		pid:     postmasterPID,
		lingers: "is still in use", // by processes that notice only now that theirs was killed
	})
}

// postmasterPID reads the file of a PostgreSQL that says who it is, in the first line, and
// that it is ready, in the eighth.
func postmasterPID(_, dir string, _ int) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || strings.TrimSpace(lines[7]) != "ready" {
		return 0, errors.New("not ready")
	}
	return strconv.Atoi(lines[0])
}

// MariaDB starts a MariaDB for the test; see [StartMariaDB].
func MariaDB(t testing.TB, args ...string) *Process {
	t.Helper()
	server, err := StartMariaDB(t.Context(), args...)
	return inTest(t, server, err)
}

// StartMariaDB starts a MariaDB whose superuser is "root", without a password, with an empty
// database "test". What it has survives a Restart. Further arguments are those of mariadbd.
func StartMariaDB(ctx context.Context, args ...string) (*Process, error) {
	return startProcess(ctx, program{
		name: "mariadbd",
		dirs: []string{"/usr/sbin"},
		prepare: func(ctx context.Context, as runner) error {
			return as.run(ctx, "mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
				"--user="+mariadbUser(), "--datadir="+filepath.Join(as.dir, "data"))
		},
		args: func(port int, dir string) []string {
			return append([]string{
				"--no-defaults", "--user=" + mariadbUser(), "--datadir=" + filepath.Join(dir, "data"),
				"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--socket=" + filepath.Join(dir, "socket"),
				"--pid-file=" + filepath.Join(dir, "pid"), "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M",
			}, args...)
		},
		pid: mariadbPID,
	})
}

// mariadbUser names the user when it is root, because mariadbd runs as root only when told so.
func mariadbUser() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return strconv.Itoa(os.Geteuid())
}

// mariadbPID reads the file of a MariaDB that says who it is, once it greets.
func mariadbPID(addr, dir string, _ int) (int, error) {
	conn, err := net.DialTimeout("tcp", addr, answerTimeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout)) // a socket of net has deadlines
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		return 0, fmt.Errorf("no greeting: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
