package outbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// A database that dies, stands still or comes back later than the relay holds up what is in it
// and loses none of it.
func TestOutbox_DatabaseIsAway(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) (*servers.Process, database){
		"PostgreSQL": func(t *testing.T) (*servers.Process, database) {
			server := servers.PostgreSQL(t)
			return server, newPostgreSQL(t, server)
		},
		"MariaDB": func(t *testing.T) (*servers.Process, database) {
			server := servers.MariaDB(t)
			return server, newMariaDB(t, server)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, db := start(t)
			db.makeTables(t)
			users := &recorder{}
			db.insert(t, "users", "before")
			server.Kill()
			r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
			failsMore(t, r)
			require.NoError(t, server.Restart(t.Context()))
			db.emptied(t)

			db.SetMaxIdleConns(0) // a process of PostgreSQL that has a connection does not stand still
			require.NoError(t, server.Pause())
			failsMore(t, r)
			require.NoError(t, server.Resume())
			require.Eventually(t, func() bool { return r.Stats().Unseen < 5*time.Second }, patience, poll)
			db.insert(t, "users", "after")
			db.emptied(t)
			keys, _, _ := users.heard()
			assert.Contains(t, keys, "before")
			assert.Contains(t, keys, "after")
		})
	}
}

// failsMore waits until the relay has failed again.
func failsMore(t *testing.T, r *nearsql.Relay) {
	t.Helper()
	before := r.Stats().Failures
	require.Eventually(t, func() bool { return r.Stats().Failures > before }, patience, poll)
}
