package coherence

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// BenchmarkNode_Apply takes in a message of another node about one key, of one of so many caches.
func BenchmarkNode_Apply(b *testing.B) {
	for _, caches := range []int{1, 20, 10_000} {
		b.Run(strconv.Itoa(caches), func(b *testing.B) {
			channel, err := bus.New(membus.NewHub().Join(), bus.Options{})
			require.NoError(b, err)
			n, err := New(nil, channel, Options{
				NearBytes: 1 << 20, MaxStaleness: time.Second, JournalInterval: time.Second,
				Logger: slog.New(slog.DiscardHandler), Background: context.Background(),
			}, fault.InProcess())
			require.NoError(b, err)
			defer func() { n.Close(); require.NoError(b, channel.Close()) }()
			messages := make([]bus.Message, caches)
			for i := range messages {
				k := new(Keyspace)
				k.Init(n, "users-"+strconv.Itoa(i), Settings{})
				require.NoError(b, n.Join(k))
				messages[i].Invalidations = []bus.Invalidation{{Op: bus.OpSet, Cache: k.Name, Key: "a", Epoch: 1, Revision: 7}}
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				n.apply(messages[i%caches])
				i += 7919
			}
		})
	}
}
