package integration_test

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// coldKeys are keys that nobody has asked for before.
type coldKeys struct{ next atomic.Int64 }

func (c *coldKeys) some(n int) []string {
	first := int(c.next.Add(int64(n))) - n
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "cold:" + strconv.Itoa(first+i)
	}
	return keys
}

// BenchmarkColdMany loads 100 keys that nobody has: through this library, which asks
// for leases and fills, and by an MGET and a pipeline of SETs.
func BenchmarkColdMany(b *testing.B) {
	const batch = 100
	users, client := benchNode(b, 0)
	ctx := b.Context()
	load := func(_ context.Context, keys []string) (map[string]user, error) {
		loaded := make(map[string]user, len(keys))
		for _, key := range keys {
			loaded[key] = someUser
		}
		return loaded, nil
	}
	var keys coldKeys
	through := func(int) {
		found, err := users.FetchMany(ctx, keys.some(batch), load)
		mustBe(b, len(found) == batch, err)
	}
	raw := func(int) {
		missing := keys.some(batch)
		values, err := client.MGet(ctx, missing...).Result()
		mustBe(b, len(values) == batch && values[0] == nil, err)
		loaded, _ := load(ctx, missing)
		pipe := client.Pipeline()
		for _, key := range missing {
			data, err := json.Marshal(loaded[key])
			mustBe(b, true, err)
			pipe.Set(ctx, key, data, time.Minute)
		}
		_, err = pipe.Exec(ctx)
		mustBe(b, true, err)
	}
	through(0)
	compare(b, 10, contender{"nearbus", through}, contender{"MGET+SETs", raw})
}

// BenchmarkColdCallers has 64 callers load a key each that nobody has, again and
// again: so many leases and fills of single keys come at the same time.
func BenchmarkColdCallers(b *testing.B) {
	const callers, each = 64, 10
	users, _ := benchNode(b, 0)
	ctx := b.Context()
	_, err := users.Fetch(ctx, "first", loadUser)
	require.NoError(b, err)
	var keys coldKeys
	compare(b, 1, contender{"nearbus", func(int) {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for _, key := range keys.some(each) {
					u, err := users.Fetch(ctx, key, loadUser)
					if u.ID != 42 || err != nil {
						b.Error("wrong answer", err)
					}
				}
			})
		}
		wg.Wait()
	}})
}
