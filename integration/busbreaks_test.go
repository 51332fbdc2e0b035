package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/integration/servers"
)

// TestBarrier_ConnectionsBreakAgainAndAgain and TestBarrier_SlotMovesAgainAndAgain: no
// subscription stands for a HeartbeatTimeout, and barriers end.
func TestBarrier_ConnectionsBreakAgainAndAgain(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	testBarriersBetweenBreaks(t,
		func() bus.Transport { return redisTransport(t, server.Addr, "breaks") },
		func() error { return killSubscribers(t.Context(), server.Addr) })
}

func TestBarrier_SlotMovesAgainAndAgain(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, clusterMasters)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	slot, err := client.ClusterKeySlot(t.Context(), "wanders").Result()
	require.NoError(t, err)
	testBarriersBetweenBreaks(t,
		func() bus.Transport { return clusterTransport(t, cluster, "wanders") },
		func() error {
			_, err := cluster.MoveSlot(t.Context(), int(slot))
			return err
		})
}

// testBarriersBetweenBreaks breaks the subscriptions of three processes before any of them
// stands for a HeartbeatTimeout, and has one call barriers meanwhile.
func testBarriersBetweenBreaks(t *testing.T, join func() bus.Transport, breakUp func() error) {
	t.Helper()
	opts := bus.Options{HeartbeatInterval: 300 * time.Millisecond, HeartbeatTimeout: 3 * time.Second}
	asker := startBusWith(t, join(), opts)
	startBusWith(t, join(), opts)
	startBusWith(t, join(), opts)

	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with done
		defer close(ended)
		for tick := time.NewTicker(2500 * time.Millisecond); ; {
			select {
			case <-tick.C:
				assert.NoError(t, breakUp())
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	defer func() { close(done); <-ended }()
	asker.awaitReady(t, 2)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), busPatience)
		answered, err := asker.Barrier(ctx, bus.BarrierOptions{AtLeast: 2})
		cancel()
		require.NoError(t, err)
		assert.Equal(t, 2, answered)
	}
	gaps, _ := asker.counts()
	assert.Greater(t, gaps, 1, "the subscriptions did break")
}
