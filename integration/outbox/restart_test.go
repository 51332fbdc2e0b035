package outbox_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

// What a database has survives that it is killed, and started again at once.
func TestDatabases_KeepWhatTheyHave(t *testing.T) {
	t.Parallel()
	for driver, start := range map[string]func(*testing.T) (server *servers.Process, dsn string){
		"pgx": func(t *testing.T) (*servers.Process, string) {
			server := servers.PostgreSQL(t)
			return server, "postgres://postgres@" + server.Addr + "/postgres"
		},
		"mysql": func(t *testing.T) (*servers.Process, string) {
			server := servers.MariaDB(t)
			return server, "root@tcp(" + server.Addr + ")/test"
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			server, dsn := start(t)
			db := open(t, driver, dsn)
			for _, statement := range []string{"CREATE TABLE t (n INT)", "INSERT INTO t VALUES (42)"} {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			for range 3 {
				pid := server.PID()
				server.Kill()
				assert.Error(t, syscall.Kill(pid, 0), "it is gone")
				require.NoError(t, server.Restart(t.Context()))
				var n int
				require.Eventually(t, func() bool { // a connection of before fails once
					return db.QueryRowContext(t.Context(), "SELECT n FROM t").Scan(&n) == nil
				}, patience, poll)
				assert.Equal(t, 42, n)
			}
		})
	}
}
