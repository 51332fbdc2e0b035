package migrate_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/migrate/move"
	"github.com/nearbus/nearbus/examples/migrate/users"
	"github.com/nearbus/nearbus/integration/servers"
)

// deployment is what a server runs at a time of a move.
type deployment int

const (
	asBefore deployment = iota // the old cache
	tellBoth                   // both are told, the old one is read
	readNew                    // both are told, the new one is read
	atTheEnd                   // the new cache
)

// mover is a fleet on its way from one cache to another.
type mover struct {
	old, new         start
	oldAddr, newAddr string
	db               *users.DB
}

// newMover returns a fleet on its way to nearbus: on the same Redis, or from nearbus on one
// Redis to nearbus on another.
func newMover(t *testing.T, old start) *mover {
	t.Helper()
	addr := servers.Redis(t).Addr
	m := &mover{old: old, new: end(), oldAddr: addr, newAddr: addr, db: users.NewDB(ada, bob)}
	if old.name == m.new.name {
		m.newAddr = servers.Redis(t).Addr
	}
	return m
}

// server opens a server of a deployment.
func (m *mover) server(t *testing.T, d deployment) users.Cache {
	t.Helper()
	switch d {
	case asBefore:
		return m.old.server(t, m.oldAddr, m.db)
	case atTheEnd:
		return m.new.server(t, m.newAddr, m.db)
	}
	return &move.Users{Old: m.old.server(t, m.oldAddr, m.db), New: m.new.server(t, m.newAddr, m.db), ReadNew: d == readNew}
}

// TestMove replaces the servers of a fleet one by one, for each deployment. After each step
// every server changes a user, and every server that reads nearbus answers with the change; so
// does every server that reads an old cache whose servers tell each other.
func TestMove(t *testing.T) {
	for _, s := range append(starts(), end()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m := newMover(t, s)
			var fleet [3]users.Cache
			var runs [3]deployment
			for i := range fleet {
				fleet[i] = m.server(t, asBefore)
			}
			for d := tellBoth; d <= atTheEnd; d++ {
				for i := range fleet {
					require.NoError(t, fleet[i].Close())
					fleet[i], runs[i] = m.server(t, d), d
					m.everyServerWrites(t, fleet[:], runs[:])
				}
			}
		})
	}
}

// change changes a user in the database, and tells the caches of a server.
func (m *mover) change(t *testing.T, on users.Cache, u users.User) {
	t.Helper()
	require.NoError(t, m.db.Save(t.Context(), u))
	require.NoError(t, on.Changed(t.Context(), u))
}

// everyServerWrites has each server change a user whom the others have in their caches.
func (m *mover) everyServerWrites(t *testing.T, fleet []users.Cache, runs []deployment) {
	t.Helper()
	for _, writer := range fleet {
		for _, reader := range fleet {
			read(t, reader, ada.ID)
		}
		row, err := m.db.User(t.Context(), ada.ID)
		require.NoError(t, err)
		row.Name += "."
		m.change(t, writer, row)
		for i, reader := range fleet {
			if runs[i] >= readNew || !m.old.untold {
				becomes(t, reader, row)
			}
		}
	}
}

// TestMove_WithoutTheFirstDeployment: a server that reads the new cache, beside one that does
// not tell the new cache yet, has the old value.
func TestMove_WithoutTheFirstDeployment(t *testing.T) {
	for _, old := range []start{starts()[0], end()} {
		t.Run(old.name, func(t *testing.T) {
			t.Parallel()
			m := newMover(t, old)
			early, other, late := m.server(t, readNew), m.server(t, readNew), m.server(t, asBefore)
			read(t, early, ada.ID)
			read(t, early, bob.ID)
			m.change(t, late, ada2)
			m.change(t, other, bob2)
			becomes(t, early, bob2)
			assert.Equal(t, ada, read(t, early, ada.ID))
		})
	}
}

// TestMove_BackAndForth: while no server told nearbus of changes, what nearbus has in Redis grew
// old. A clear ends it.
func TestMove_BackAndForth(t *testing.T) {
	m := newMover(t, starts()[0])
	early := m.server(t, readNew)
	read(t, early, ada.ID)
	require.NoError(t, early.Close())
	back := m.server(t, asBefore)
	m.change(t, back, ada2)
	forth := m.server(t, readNew)
	assert.Equal(t, ada, read(t, forth, ada.ID))

	client := redis.NewClient(&redis.Options{Addr: m.newAddr})
	defer client.Close()
	require.NoError(t, client.Publish(t.Context(), "nearbus-shop", "clear users").Err())
	becomes(t, forth, ada2)
}
