package nearcachetest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared/cborcodec"
)

// TestYourCode_Page: the code of docs/testing-your-code.md is that of this file.
func TestYourCode_Page(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing-your-code.md")
	require.NoError(t, err)
	source, err := os.ReadFile("yourcode_test.go")
	require.NoError(t, err)
	blocks := strings.Split(string(page), "```go\n")[1:]
	require.Len(t, blocks, 6)
	for _, block := range blocks {
		code, _, ok := strings.Cut(block, "```")
		require.True(t, ok)
		assert.Contains(t, string(source), code)
	}
}

// database is the source.
type database struct {
	mu    sync.Mutex
	names map[string]string
	loads int
}

func (db *database) load(_ context.Context, id string) (string, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.loads++
	if name, ok := db.names[id]; ok {
		return name, nil
	}
	return "", nearcache.ErrNotFound
}

func (db *database) save(id, name string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.names[id] = name
}

type directory struct { // what is to be tested: one on each server
	db    *database // of all servers
	names *nearcache.Cache[string]
}

func (d *directory) Name(ctx context.Context, id string) (string, error) {
	return d.names.Fetch(ctx, id, d.db.load)
}

func (d *directory) Rename(ctx context.Context, id, name string) error {
	d.db.save(id, name)
	return d.names.Invalidate(ctx, id)
}

func newDirectory(t *testing.T, node *nearcache.Node, db *database) *directory {
	names, err := nearcache.New(node, "names", nearcache.Options[string]{TTL: time.Minute})
	require.NoError(t, err)
	return &directory{db: db, names: names}
}

// requireName is what every test here asks.
func requireName(t *testing.T, d *directory, want string) {
	t.Helper()
	name, err := d.Name(t.Context(), "42")
	require.NoError(t, err)
	require.Equal(t, want, name)
}

func TestRename_TwoServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet, db := nearcachetest.NewMemory(t), &database{names: map[string]string{"42": "Ada"}}
		here := newDirectory(t, fleet.Node(nearcache.NodeOptions{}), db)
		there := newDirectory(t, fleet.Node(nearcache.NodeOptions{}), db)
		requireName(t, here, "Ada")
		requireName(t, there, "Ada")
		require.Equal(t, 1, db.loads, "one load for both")

		require.NoError(t, here.Rename(t.Context(), "42", "Grace"))
		requireName(t, here, "Grace")
		fleet.Settle() // one hop of the bus
		requireName(t, there, "Grace")
	})
}

func TestName_EndsWithTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet, db := nearcachetest.NewMemory(t), &database{names: map[string]string{"42": "Ada"}}
		d := newDirectory(t, fleet.Node(nearcache.NodeOptions{}), db)
		requireName(t, d, "Ada")
		db.save("42", "Grace") // and nobody tells the cache
		time.Sleep(59 * time.Second)
		requireName(t, d, "Ada")
		time.Sleep(2 * time.Second)
		requireName(t, d, "Grace")
	})
}

func TestRename_SharedTierDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet, db := nearcachetest.NewMemory(t), &database{names: map[string]string{"42": "Ada"}}
		node := fleet.Node(nearcache.NodeOptions{})
		here, there := newDirectory(t, node, db), newDirectory(t, fleet.Node(nearcache.NodeOptions{}), db)
		requireName(t, there, "Ada")

		fleet.FailShared(errors.New("connection refused"))
		err := here.Rename(t.Context(), "42", "Grace")
		require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		requireName(t, here, "Grace") // from the database
		require.Equal(t, 1, node.Health().PendingInvalidations)

		fleet.FailShared(nil)
		require.NoError(t, node.Drain(t.Context()))
		fleet.Settle()
		requireName(t, there, "Grace")
	})
}

func TestRename_RealTime(t *testing.T) {
	fleet, db := nearcachetest.NewMemory(t), &database{names: map[string]string{"42": "Ada"}}
	here := newDirectory(t, fleet.Node(nearcache.NodeOptions{}), db)
	there := newDirectory(t, fleet.Node(nearcache.NodeOptions{}), db)
	requireName(t, there, "Ada")

	require.NoError(t, here.Rename(t.Context(), "42", "Grace"))
	a, err := there.names.Read(t.Context(), "42", nearcache.ReadOptions{After: here.names.Token("42")}, nearcache.ValueLoader(db.load))
	require.NoError(t, err)
	require.Equal(t, "Grace", a.Value)
}

type user struct {
	Name string
	Born time.Time
	Tags []string
}

func TestUser_ComesBack(t *testing.T) {
	born := time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC)
	nearcachetest.RoundTrip(t, cborcodec.New(), user{Name: "Ada", Born: born, Tags: []string{"math"}})
}
