package migrate_test

import (
	"testing"

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

// TestMove replaces the servers of a fleet one by one, for each deployment, from every cache to
// nearbus, and from nearbus on one Redis to nearbus on another. After each step every server
// changes a user, and every server that can hear of it answers with the change.
func TestMove(t *testing.T) {
	another := end()
	another.name = "another Redis"
	for _, s := range append(starts(), another) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m := &mover{old: s, new: end(), oldAddr: servers.Redis(t).Addr, newAddr: servers.Redis(t).Addr, db: users.NewDB(ada)}
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
		require.NoError(t, m.db.Save(t.Context(), row))
		require.NoError(t, writer.Changed(t.Context(), row))
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
	m := &mover{old: starts()[0], new: end(), oldAddr: servers.Redis(t).Addr, newAddr: servers.Redis(t).Addr, db: users.NewDB(ada, bob)}
	early, late, other := m.server(t, readNew), m.server(t, asBefore), m.server(t, readNew)
	warm(t, early, m.db, ada)
	warm(t, early, m.db, bob)
	require.NoError(t, m.db.Save(t.Context(), ada2))
	require.NoError(t, late.Changed(t.Context(), ada2))
	require.NoError(t, m.db.Save(t.Context(), bob2))
	require.NoError(t, other.Changed(t.Context(), bob2))
	becomes(t, early, bob2)
	assert.Equal(t, ada, read(t, early, ada.ID))
}
