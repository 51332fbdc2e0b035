package integration_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// BenchmarkAllocations counts what one call allocates in all, in this library and in the client:
// reads, misses and writes of a key, beside the same by hand.
func BenchmarkAllocations(b *testing.B) {
	users, client := benchNode(b, time.Nanosecond)
	ctx, raw := b.Context(), uniqueName()
	data, err := json.Marshal(someUser)
	require.NoError(b, err)
	keys := make([]string, 20_000) // so many that the near copy of one has expired when its turn comes
	for i := range keys {
		keys[i] = "there" + strconv.Itoa(i)
		require.NoError(b, users.Set(ctx, keys[i], someUser))
	}
	require.NoError(b, client.Set(ctx, raw, data, time.Hour).Err())
	for _, c := range []contender{
		{"shared hit", func(i int) { _, err := users.Fetch(ctx, keys[i%len(keys)], loadUser); mustBe(b, true, err) }},
		{"GET", func(int) {
			data, err := client.Get(ctx, raw).Bytes()
			var u user
			mustBe(b, err == nil && json.Unmarshal(data, &u) == nil, err)
		}},
		{"a miss with a load", func(i int) {
			_, err := users.Fetch(ctx, "missing"+strconv.Itoa(i), loadUser)
			mustBe(b, true, err)
		}},
		{"GET, SET", func(i int) {
			key := raw + strconv.Itoa(i)
			_ = client.Get(ctx, key).Err()
			data, err := json.Marshal(someUser)
			mustBe(b, true, err)
			mustBe(b, true, client.Set(ctx, key, data, time.Minute).Err())
		}},
		{"Set", func(i int) { mustBe(b, true, users.Set(ctx, strconv.Itoa(i%1000), someUser)) }},
		{"SET, PUBLISH", func(i int) {
			data, err := json.Marshal(someUser)
			mustBe(b, true, err)
			_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, raw+strconv.Itoa(i%1000), data, 5*time.Minute)
				pipe.Publish(ctx, raw, strconv.Itoa(i))
				return nil
			})
			mustBe(b, true, err)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.op(i)
			}
		})
	}
}
