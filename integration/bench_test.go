package integration_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// user is what services cache: a struct of six fields.
type user struct {
	ID      int64
	Name    string
	Email   string
	Country string
	Active  bool
	Balance float64
}

var someUser = user{42, "Ada Lovelace", "ada@example.org", "GB", true, 12.5}

const hotKey = "user:00000000042"

// benchNode is a node whose store and bus are one Redis. near is how long it
// may keep values.
func benchNode(b *testing.B, near time.Duration) (*nearcache.Cache[user], *redis.Client) {
	client := newRedis(b, sharedRedis(b).Addr)
	name := uniqueName()
	tier, err := shared.New(redisStoreOf(b, client, name), shared.Options{})
	require.NoError(b, err)
	transport, err := redisbus.New(client, redisbus.Options{Channel: name})
	require.NoError(b, err)
	wire, err := bus.New(transport, bus.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, wire, nearcache.NodeOptions{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = node.Close(ended); _ = wire.Close() })
	users, err := nearcache.New(node, "users", nearcache.Options[user]{NearTTL: near})
	require.NoError(b, err)
	require.Eventually(b, func() bool { return !node.Stats().Bus.Cut }, 10*time.Second, time.Millisecond)
	return users, client
}

func loadUser(context.Context, string) (user, error) { return someUser, nil }

// contender is one of those that do the same work in turns.
type contender struct {
	name string
	op   func(i int)
}

// compare has the contenders do slices of work in turns, so that all of them
// meet the same moods of the machine, and reports the median of each, the
// ratio of the first to each other, and the same for the time of processors, of
// this process and of the Redis that tests share, where the system says so.
func compare(b *testing.B, slice int, contenders ...contender) {
	server := sharedRedis(b)
	columns := []struct {
		unit  string
		clock func() float64 // nanoseconds
		spent [][]float64    // of each contender, for each op
	}{
		{unit: "ns", clock: func() float64 { return float64(time.Since(benchBegan).Nanoseconds()) }},
		{unit: "cpu-ns", clock: func() float64 { return processor() + processorOf(server) }},
		{unit: "redis-ns", clock: func() float64 { return processorOf(server) }},
	}
	for i := range columns {
		columns[i].spent = make([][]float64, len(contenders))
	}
	done, before := make([]int, len(contenders)), make([]float64, len(columns))
	for b.Loop() {
		for c := range contenders {
			for i := range columns {
				before[i] = columns[i].clock()
			}
			for range slice {
				contenders[c].op(done[c])
				done[c]++
			}
			for i, column := range columns {
				column.spent[c] = append(column.spent[c], (column.clock()-before[i])/float64(slice))
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, column := range columns {
		for c, spent := range column.spent {
			slices.Sort(spent)
			median := spent[len(spent)/2]
			b.ReportMetric(median, contenders[c].name+"-"+column.unit)
			if c > 0 && median > 0 {
				b.ReportMetric(column.spent[0][len(spent)/2]/median, "x-"+contenders[c].name+"-"+column.unit)
			}
		}
	}
}

var benchBegan = time.Now()

// processor returns the nanoseconds of processors that this process has had.
func processor() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // zeros then
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

func mustBe(b *testing.B, ok bool, err error) {
	if !ok || err != nil {
		b.Fatal("wrong answer", err)
	}
}

// BenchmarkNearHit reads one hot key: through this library, and from ristretto
// as it is, with string keys.
func BenchmarkNearHit(b *testing.B) {
	users, _ := benchNode(b, 0)
	_, err := users.Fetch(b.Context(), hotKey, loadUser)
	require.NoError(b, err)
	raw := func(ttl time.Duration) func(int) {
		cache, err := ristretto.NewCache(&ristretto.Config[string, user]{NumCounters: 1e6, MaxCost: 1e5, BufferItems: 64})
		require.NoError(b, err)
		b.Cleanup(cache.Close)
		cache.SetWithTTL(hotKey, someUser, 1, ttl)
		cache.Wait()
		return func(int) {
			u, ok := cache.Get(hotKey)
			mustBe(b, ok && u.ID == 42, nil)
		}
	}
	ctx := b.Context()
	near := func(int) {
		u, err := users.Fetch(ctx, hotKey, loadUser)
		mustBe(b, u.ID == 42, err)
	}
	ttl, noTTL := raw(time.Hour), raw(0)
	b.Run("serial", func(b *testing.B) {
		compare(b, 100_000, contender{"nearbus", near}, contender{"ristretto-ttl", ttl}, contender{"ristretto", noTTL})
	})
	b.Run("parallel", func(b *testing.B) {
		compare(b, 1, contender{"nearbus", twice(near)}, contender{"ristretto-ttl", twice(ttl)}, contender{"ristretto", twice(noTTL)})
	})
	require.Zero(b, testing.AllocsPerRun(1000, func() { near(0) }))
}

// twice returns an op that does a million times op, on two processors.
func twice(op func(int)) func(int) {
	return func(int) {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for i := range 500_000 {
					op(i)
				}
			})
		}
		wg.Wait()
	}
}

// BenchmarkSharedHit reads values that are in the shared tier and not near:
// through this library, and by a GET of the same value and its decoding.
func BenchmarkSharedHit(b *testing.B) {
	// So many keys that the near copy of one has expired when its turn comes.
	keys := make([]string, 20_000)
	users, client := benchNode(b, time.Nanosecond)
	for i := range keys {
		keys[i] = "user:" + strconv.Itoa(i)
		require.NoError(b, users.Set(b.Context(), keys[i], someUser))
	}
	data, err := json.Marshal(someUser)
	require.NoError(b, err)
	raw := uniqueName()
	require.NoError(b, client.Set(b.Context(), raw, data, time.Hour).Err())
	ctx := b.Context()
	compare(b, 500,
		contender{"nearbus", func(i int) {
			u, err := users.Fetch(ctx, keys[i%len(keys)], loadUser)
			mustBe(b, u.ID == 42, err)
		}},
		contender{"go-redis", func(int) {
			data, err := client.Get(ctx, raw).Bytes()
			var u user
			mustBe(b, err == nil && json.Unmarshal(data, &u) == nil && u.ID == 42, err)
		}})
	require.Zero(b, users.Stats().Reads.Hits)
}

// BenchmarkSet writes and announces, with one subscriber: through this library,
// and by a pipeline of SET and PUBLISH.
func BenchmarkSet(b *testing.B) {
	users, client := benchNode(b, 0)
	ctx := b.Context()
	raw := uniqueName()
	sub := client.Subscribe(ctx, raw)
	defer sub.Close()
	messages := sub.Channel()
	go func() { // ends when the subscription is closed
		for range messages {
		}
	}()
	compare(b, 500,
		contender{"nearbus", func(i int) {
			mustBe(b, true, users.Set(ctx, strconv.Itoa(i%1000), someUser))
		}},
		contender{"go-redis", func(i int) {
			data, err := json.Marshal(someUser)
			mustBe(b, true, err)
			key := raw + strconv.Itoa(i%1000)
			_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, key, data, 5*time.Minute)
				pipe.Publish(ctx, raw, key)
				return nil
			})
			mustBe(b, true, err)
		}})
}
