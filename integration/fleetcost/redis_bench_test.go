package main

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// BenchmarkServerTime measures the processor time of a Redis for what nodes ask
// of it: one request at a time, as nodes of a fleet that is not busy do.
func BenchmarkServerTime(b *testing.B) {
	const page = 1000
	s := servers.Redis(b)
	client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(b, err)
	record := driver.Record{Kind: driver.KindValue, Value: make([]byte, 200)}
	write := func(i int) {
		record.Nonce = driver.NewNonce()
		w := driver.Write{Key: fmt.Sprintf("cache:%016d", i%10_000), Image: record.Append(nil)}
		require.NoError(b, store.Write(b.Context(), []driver.Write{w})[0].Err)
	}
	tail := func(from driver.Position) driver.Tail {
		t := store.Tail(b.Context(), []driver.TailRead{{From: from, Limit: page}})[0]
		require.NoError(b, t.Err)
		return t
	}
	start := tail(driver.Position{}).Next
	for i := range page {
		write(i)
	}
	end := tail(start).Next
	for _, c := range []struct {
		what string
		do   func(i int)
	}{
		{"write", write},
		{"read", func(i int) {
			_, err := store.Read(b.Context(), []string{fmt.Sprintf("cache:%016d", i%page)})
			require.NoError(b, err)
		}},
		{"repair of nothing", func(int) { tail(end) }},
		{"repair of 10 entries", func(int) {
			require.Len(b, store.Tail(b.Context(), []driver.TailRead{{From: start, Limit: 10}})[0].Entries, 10)
		}},
		{"repair of 1000 entries", func(int) { require.Len(b, tail(start).Entries, page) }},
	} {
		b.Run(c.what, func(b *testing.B) {
			for more := c.what == "repair of nothing"; more; {
				t := tail(end)
				end, more = t.Next, len(t.Entries) > 0
			}
			before, n := redisCPU(b, client), 0
			for b.Loop() {
				c.do(n)
				n++
			}
			b.ReportMetric(float64((redisCPU(b, client)-before).Nanoseconds())/float64(n), "cpu-ns/op")
		})
	}
}
