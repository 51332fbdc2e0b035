package integration_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
)

// BenchmarkLongImages writes images of several sizes, one after the other, beside SET and
// PUBLISH in a pipeline. It reports what each costs the processor of Redis, where the system
// says so.
func BenchmarkLongImages(b *testing.B) {
	server := servers.Redis(b)
	client := newRedis(b, server.Addr)
	store := redisStoreOf(b, client, uniqueName())
	note := driver.Announcement{Channel: "news", Payload: make([]byte, 24)}
	for _, size := range []int{256, 4 << 10, 16 << 10, 60 << 10, 256 << 10, 1 << 20, 4 << 20} {
		text := string(make([]byte, size))
		write := func(key string) error {
			w := driver.Write{Key: key, Image: value(driver.NewNonce(), text), TTL: time.Minute, Announce: &note}
			return store.Write(b.Context(), []driver.Write{w})[0].Err
		}
		plain := func(key string) error {
			_, err := client.Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
				pipe.Set(b.Context(), key, text, time.Minute)
				pipe.Publish(b.Context(), "news", key)
				return nil
			})
			return err
		}
		for _, way := range []struct {
			name string
			do   func(key string) error
		}{{"write", write}, {"SET, PUBLISH", plain}} {
			b.Run(fmt.Sprint(size, "/", way.name), func(b *testing.B) {
				before := processorOf(server)
				for i := range b.N {
					require.NoError(b, way.do(strconv.Itoa(i%20)))
				}
				b.ReportMetric((processorOf(server)-before)/1e3/float64(b.N), "redis-µs/op")
			})
		}
	}
}

// processorOf returns the nanoseconds of processors that a server has had; 0 where the
// system does not say.
func processorOf(server *servers.Process) (spent float64) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", server.PID()))
	_, _ = fmt.Sscan(string(stat), &spent) // 0 then
	return spent
}
