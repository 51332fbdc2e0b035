package nearcache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// apart are servers whose reads prove what they have. Those of one of them may be answered by
// a replica that has what there was once.
type apart struct {
	*servers
	lagging atomic.Pointer[lagging]
}

type lagging struct {
	partition int
	images    map[string][]byte
	head      driver.Revision
}

// lag makes reads of these keys, which are in one partition, those of a replica.
func (s *apart) lag(t *testing.T, keys ...string) {
	t.Helper()
	images, heads, err := s.ReadProven(t.Context(), keys)
	require.NoError(t, err)
	l := &lagging{partition: s.Partition(keys[0]), images: make(map[string][]byte), head: heads[0]}
	for i, key := range keys {
		l.images[key] = images[i]
	}
	s.lagging.Store(l)
}

func (s *apart) Proves() bool { return true }

func (s *apart) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	images, heads := make([][]byte, len(keys)), make([]driver.Revision, len(keys))
	for i, key := range keys {
		image, head, err := s.of(key).ReadProven(ctx, keys[i:i+1])
		if err != nil {
			return nil, nil, err
		}
		images[i], heads[i] = image[0], head[0]
		if l := s.lagging.Load(); l != nil && s.Partition(key) == l.partition {
			images[i], heads[i] = l.images[key], l.head
		}
	}
	return images, heads, nil
}

// TestToken_ClocksOnAnotherServer: a token stands for a Clear or an InvalidateTags of which
// the node has not heard. What tells of them is on another server than the key, and is read
// from a replica that lags behind.
func TestToken_ClocksOnAnotherServer(t *testing.T) {
	for what, lags := range map[string][]string{
		"Clear":          {"users!clock"},
		"InvalidateTags": {"users!tags", slotKey("t")},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServers()
				over := &apart{servers: s}
				a, b := joinOver(t, over), joinOver(t, &apart{servers: s})
				require.NoError(t, b.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", Tags: []string{"t"}}))
				wait(3 * time.Second)
				got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
				require.NoError(t, err)
				require.Equal(t, "old", got.Value)
				over.lag(t, lags...)
				require.NoError(t, ends[what](t.Context(), b))
				got, err = a.Read(t.Context(), "k", nearcache.ReadOptions{After: b.Token("k")}, nil)
				require.ErrorIs(t, err, nearcache.ErrUnproven, got.Value)
				over.lagging.Store(nil)
				got, err = a.Read(t.Context(), "k", nearcache.ReadOptions{After: b.Token("k")}, nearcache.ValueLoader(is("new")))
				require.NoError(t, err)
				assert.Equal(t, "new", got.Value)
			})
		})
	}
}

func joinOver(t *testing.T, s driver.Store) *member {
	t.Helper()
	tier, err := shared.New(s, shared.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewBrokenNode(tier, nil, nearcache.NodeOptions{}, fault.Without())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close(atOnce)) })
	c, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	return &member{Cache: c, node: node}
}
