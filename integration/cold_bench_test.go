package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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

// BenchmarkColdMany loads keys that nobody has, many at once: through this library, which
// asks for leases and fills, and by an MGET and a pipeline of SETs.
func BenchmarkColdMany(b *testing.B) {
	for _, batch := range []int{100, 1000} {
		b.Run(strconv.Itoa(batch), func(b *testing.B) { coldMany(b, batch) })
	}
}

var cold coldKeys // of all runs

func coldMany(b *testing.B, batch int) {
	users, client := benchNode(b, 0)
	ctx := b.Context()
	load := func(_ context.Context, keys []string) (map[string]user, error) {
		loaded := make(map[string]user, len(keys))
		for _, key := range keys {
			loaded[key] = someUser
		}
		return loaded, nil
	}
	through := func(int) {
		found, err := users.FetchMany(ctx, cold.some(batch), load)
		mustBe(b, len(found) == batch, err)
	}
	raw := func(int) {
		missing := cold.some(batch)
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
	compare(b, 1000/batch, contender{"nearbus", through}, contender{"MGET+SETs", raw})
}

// BenchmarkSetMany writes 1,000 keys at once: through this library, and by a pipeline of
// SETs and XADDs.
func BenchmarkSetMany(b *testing.B) {
	const batch = 1000
	users, client := benchNode(b, 0)
	ctx, raw := b.Context(), uniqueName()
	values := make(map[string]user, batch)
	for i := range batch {
		values["many:"+strconv.Itoa(i)] = someUser
	}
	compare(b, 1,
		contender{"nearbus", func(int) { mustBe(b, true, users.SetMany(ctx, values)) }},
		contender{"SETs+XADDs", func(int) {
			_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for key, u := range values {
					data, err := json.Marshal(u)
					mustBe(b, true, err)
					pipe.Set(ctx, raw+key, data, 5*time.Minute)
					pipe.XAdd(ctx, &redis.XAddArgs{Stream: raw, MaxLen: 65536, Approx: true, Values: []string{"k", key}})
				}
				return nil
			})
			mustBe(b, true, err)
		}})
}

// BenchmarkSharedMany reads 100 keys at once that are in the shared tier and not near:
// through this library, and by an MGET and decoding.
func BenchmarkSharedMany(b *testing.B) {
	const batch, all = 100, 20_000
	users, client := benchNode(b, time.Nanosecond)
	ctx, raw := b.Context(), uniqueName()
	keys, raws := make([]string, all), make([]string, all)
	data, err := json.Marshal(someUser)
	require.NoError(b, err)
	values := make(map[string]user, all)
	for i := range keys {
		keys[i], raws[i] = "user:"+strconv.Itoa(i), raw+strconv.Itoa(i)
		values[keys[i]] = someUser
		require.NoError(b, client.Set(ctx, raws[i], data, time.Hour).Err())
	}
	require.NoError(b, users.SetMany(ctx, values))
	nobody := func(context.Context, []string) (map[string]user, error) { return nil, errors.New("loaded") }
	some := func(keys []string, i int) []string { return keys[i*batch%all:][:batch] }
	compare(b, 10,
		contender{"nearbus", func(i int) {
			found, err := users.FetchMany(ctx, some(keys, i), nobody)
			mustBe(b, len(found) == batch, err)
		}},
		contender{"MGET", func(i int) {
			texts, err := client.MGet(ctx, some(raws, i)...).Result()
			mustBe(b, true, err)
			found := make(map[string]user, batch)
			for k, text := range texts {
				var u user
				mustBe(b, json.Unmarshal([]byte(text.(string)), &u) == nil, nil)
				found[keys[k]] = u
			}
		}})
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
